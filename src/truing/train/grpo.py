"""GRPO: a prompt's samples are each other's baseline; clipped policy-gradient steps, with the KL tether in the loss.

Shao et al. (2024), with the published variants by name: `scale_rewards` (Dr. GRPO divides by no standard deviation), `loss_type`
(what a token weighs), `kl_loss`. Departures from the paper: every token weighs alike over the whole minibatch (DAPO), and the KL
estimate that is differentiated is weighted by the ratio, without which its gradient is not that of the divergence.

    truing grpo --model runs/mine/sft --reward runs/mine/round-1/reward --prompts prompts.jsonl --out runs/mine

The loop around it is `rl.run`. Legend: B episodes, N completion tokens of the update's episodes, n those of one piece.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from truing.losses.advantage import group_relative
from truing.losses.masked import LossOutput
from truing.losses.policy import clipped_policy, kl_loss, token_weights
from truing.records import Progress
from truing.store.artifacts import Artifact, Store
from truing.train import rl
from truing.train.config import GRPOConfig
from truing.train.experience import Experience, training_scores
from truing.train.minibatches import Minibatch
from truing.train.rl_inputs import RLInputs
from truing.train.rollout_log import Gold


def run(
    config: GRPOConfig,
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
    return rl.run("grpo", GRPO, config, inputs, store, name, resume=resume, progress=progress, observer=observer, gold=gold)


class GRPO(rl.PolicyAlone[GRPOConfig]):
    """A `Learner` without a value model."""

    what = "grpo"

    def begin(self, experience: Experience, beta: float) -> tuple[rl.StepOn, dict[str, float]]:
        """An advantage an episode, the same at each of its tokens."""
        advantages_B, equal_groups = group_relative(experience.reward_B, experience.group_size, self.config.scale_rewards)
        advantages_N = torch.repeat_interleave(advantages_B, experience.lengths_B)
        if self.config.importance_cap is not None:
            advantages_N = experience.importance_weights(self.config.importance_cap) * advantages_N
        return partial(self._step, experience, advantages_N, beta), {"equal_groups": equal_groups}

    def _step(self, experience: Experience, advantages_N: Tensor, beta: float, minibatch: Minibatch) -> dict[str, float]:
        return self.step(self._losses(experience, advantages_N, beta, minibatch))

    def _losses(self, experience: Experience, advantages_N: Tensor, beta: float, minibatch: Minibatch) -> Iterator[LossOutput]:
        config, reference_N = self.config, experience.reference_logprobs_N
        for piece in minibatch.pieces:
            logprobs_n = training_scores(self.policy, piece, experience, config)
            behaviour_n = experience.behaviour_logprobs_N[piece.tokens_n]
            weight_n = token_weights(
                config.loss_type, piece.lengths_b, minibatch.tokens, minibatch.episodes, config.max_new_tokens
            )
            output = clipped_policy(
                logprobs_n, behaviour_n, advantages_N[piece.tokens_n], config.clip, minibatch.tokens, weight_n
            )
            if reference_N is not None:
                tether = kl_loss(config.kl_loss, logprobs_n, behaviour_n, reference_N[piece.tokens_n], beta, weight_n)
                output = LossOutput(output.loss + tether.loss, {**output.metrics, **tether.metrics})
            yield output
