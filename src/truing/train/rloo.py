"""RLOO: REINFORCE with a completion as one action, and the mean of the prompt's other samples as its baseline.

Ahmadian et al. (2024): the KL tether is k1 in the reward, and there is no value model. Departure: the ratio to the policy that
sampled, a product over the completion's tokens, is clipped as in PPO, so that an update may take several steps (as TRL does).

    truing rloo --model runs/mine/sft --reward runs/mine/round-1/reward --prompts prompts.jsonl --out runs/mine

The loop around it is `rl.run`. Legend: B episodes, N completion tokens of the update's episodes, n those of one piece, b its
episodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from torch import Tensor

from truing.losses.advantage import leave_one_out
from truing.losses.masked import LossOutput, sequence_sums, whiten
from truing.losses.policy import k1, sequence_policy, truncated_importance
from truing.records import Progress
from truing.store.artifacts import Artifact, Store
from truing.train import rl
from truing.train.config import RLOOConfig
from truing.train.experience import Experience, training_scores
from truing.train.minibatches import Minibatch
from truing.train.rl_inputs import RLInputs
from truing.train.rollout_log import Gold


def run(
    config: RLOOConfig,
    inputs: RLInputs,
    store: Store,
    name: str,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    observer: rl.Observer | None = None,
    gold: Gold | None = None,
) -> Artifact:
    """See `rl.run`."""
    return rl.run("rloo", RLOO, config, inputs, store, name, resume=resume, progress=progress, observer=observer, gold=gold)


class RLOO(rl.PolicyAlone[RLOOConfig]):
    """A `Learner` without a value model."""

    what = "rloo"

    def begin(self, experience: Experience, beta: float) -> tuple[rl.StepOn, dict[str, float]]:
        """The KL penalty in the reward, then the baseline."""
        reward_B, lengths_B = experience.reward_B, experience.lengths_B
        if experience.reference_logprobs_N is not None:
            k1_N = k1(experience.behaviour_logprobs_N, experience.reference_logprobs_N)
            reward_B = reward_B - beta * sequence_sums(k1_N, lengths_B)
        advantages_B, equal_groups = leave_one_out(reward_B, experience.group_size)
        if self.config.normalise_advantages:
            advantages_B = whiten(advantages_B)
        if self.config.importance_cap is not None and experience.mismatch is not None:
            trainer_N, sampler_N = experience.trainer.logprobs_N, experience.sampler_logprobs_N
            trainer_B, sampler_B = sequence_sums(trainer_N, lengths_B), sequence_sums(sampler_N, lengths_B)
            advantages_B = truncated_importance(trainer_B, sampler_B, self.config.importance_cap) * advantages_B
        return partial(self._step, experience, advantages_B), {"equal_groups": equal_groups}

    def _step(self, experience: Experience, advantages_B: Tensor, minibatch: Minibatch) -> dict[str, float]:
        return self.step(self._losses(experience, advantages_B, minibatch))

    def _losses(self, experience: Experience, advantages_B: Tensor, minibatch: Minibatch) -> Iterator[LossOutput]:
        for piece in minibatch.pieces:
            logprobs_n = training_scores(self.policy, piece, experience, self.config)
            yield sequence_policy(
                logprobs_n,
                experience.behaviour_logprobs_N[piece.tokens_n],
                advantages_B[piece.episodes_b],
                piece.lengths_b,
                self.config.clip,
                minibatch.episodes,
            )
