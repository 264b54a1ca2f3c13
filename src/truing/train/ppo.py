"""PPO: the policy samples, a reward ensemble scores, and clipped policy-gradient steps move it under a KL tether.

Choreography of Ziegler et al. (2019), Stiennon et al. (2020) and Huang et al. (2024, "N+ implementation details"): reward at the
last token, -beta k1 at every token, GAE, whitened advantages, clipped policy and value losses. Departures: the value model is a
network of its own, started from reward member 0, with an optimiser of its own, or a head on the policy's trunk; rewards are the
mean of an ensemble, in standard deviations of its training completions; episodes are laid end to end, so nothing is averaged over
padding; minibatches are dealt once an update, not once an epoch, so that their batches are made once.

    truing ppo --model runs/mine/sft --reward runs/mine/round-1/reward --prompts prompts.jsonl --out runs/mine

The loop around it is `rl.run`. Legend: N completion tokens of the update's episodes, n those of one piece.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import chain

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from truing.errors import TruingError
from truing.losses.advantage import Advantages, gae, token_rewards
from truing.losses.masked import LossOutput, whiten
from truing.losses.policy import clipped_policy, k1, ppo_value
from truing.models.forward import hidden_states, token_values, values_at
from truing.models.load import load_scorer
from truing.models.reward import RewardEnsemble, member_directory
from truing.records import Progress, seed_for
from truing.store.artifacts import Artifact, Store
from truing.train import rl
from truing.train.config import PPOConfig
from truing.train.experience import Experience, training_scores
from truing.train.minibatches import Minibatch, Piece
from truing.train.rl_inputs import Models, RewardFunction, RLData, RLInputs
from truing.train.rollout_log import Gold
from truing.train.session import ready_to_train
from truing.train.side_by_side import side_by_side
from truing.train.step import Stepper


def run(
    config: PPOConfig,
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
    return rl.run("ppo", PPO, config, inputs, store, name, resume=resume, progress=progress, observer=observer, gold=gold)


class PPO:
    """A `Learner` with a value model."""

    def __init__(self, config: PPOConfig, inputs: RLInputs, models: Models, data: RLData) -> None:
        self.config, self.policy, self.data = config, models.policy, data
        steps = config.optimiser_steps
        self.value: PreTrainedModel | nn.Linear
        if config.value == "shared_trunk":
            self.value = value_head(models.policy)
            both = nn.ModuleList([self.policy, self.value])
            self.steppers = {"policy": Stepper(both, config.optimiser, steps, "ppo policy and value head")}
        else:
            self.value = value_model(config, inputs, models)
            self.steppers = {
                "policy": Stepper(self.policy, config.optimiser, steps, "ppo policy"),
                "value": Stepper(self.value, config.value_optimiser, steps, "ppo value model"),
            }
        self.networks: Mapping[str, nn.Module] = {"policy": self.policy, "value": self.value}

    def begin(self, experience: Experience, beta: float) -> tuple[rl.StepOn, dict[str, float]]:
        """Rewards a token, GAE, whitening."""
        config, lengths_B, values_N = self.config, experience.lengths_B, experience.values_N
        assert values_N is not None
        reference_N = experience.reference_logprobs_N
        k1_N = torch.zeros_like(values_N) if reference_N is None else k1(experience.behaviour_logprobs_N, reference_N)
        rewards_N = token_rewards(experience.reward_B, k1_N, lengths_B, beta)
        targets = gae(rewards_N, values_N, lengths_B, config.gamma, config.lam)
        if config.whiten_advantages:
            targets = Advantages(whiten(targets.advantages_N), targets.returns_N)
        if config.importance_cap is not None:
            weight_N = experience.importance_weights(config.importance_cap)
            targets = Advantages(weight_N * targets.advantages_N, targets.returns_N)
        metrics = {"explained_variance": explained_variance(values_N, targets.returns_N)}
        return partial(self._step, experience, targets), metrics

    def _step(self, experience: Experience, targets: Advantages, minibatch: Minibatch) -> dict[str, float]:
        """One step of policy and value model: together on a shared trunk, else each its own, side by side."""
        stepper = self.steppers["policy"]
        mixed_in = self.data.demonstration_losses(self.policy, stepper.steps_done)
        if isinstance(self.value, nn.Linear):
            return stepper.step(chain(self._joint_losses(self.value, experience, targets, minibatch), mixed_in))
        policy, value = side_by_side(
            partial(stepper.step, chain(self._policy_losses(experience, targets, minibatch), mixed_in)),
            partial(self.steppers["value"].step, self._value_losses(self.value, experience, targets, minibatch)),
            self.policy.device,
        )
        return {**policy, **{f"value_{name.removeprefix('value_')}": number for name, number in value.items()}}

    def _joint_losses(
        self, head: nn.Linear, experience: Experience, targets: Advantages, minibatch: Minibatch
    ) -> Iterator[LossOutput]:
        for piece in minibatch.pieces:
            hidden_TD = hidden_states(self.policy, piece.batch, piece.where.reading)
            logprobs_n = training_scores(self.policy, piece, experience, self.config, hidden_TD)
            policy = self._policy_loss(logprobs_n, piece, experience, targets, minibatch)
            value = self._value_loss(values_at(head, hidden_TD, piece.where), piece, experience, targets, minibatch)
            yield LossOutput(policy.loss + value.loss, {**policy.metrics, **value.metrics, "value_loss": value.loss})

    def _policy_losses(self, experience: Experience, targets: Advantages, minibatch: Minibatch) -> Iterator[LossOutput]:
        for piece in minibatch.pieces:
            logprobs_n = training_scores(self.policy, piece, experience, self.config)
            yield self._policy_loss(logprobs_n, piece, experience, targets, minibatch)

    def _value_losses(
        self, model: PreTrainedModel, experience: Experience, targets: Advantages, minibatch: Minibatch
    ) -> Iterator[LossOutput]:
        for piece in minibatch.pieces:
            yield self._value_loss(token_values(model, piece.batch, piece.where), piece, experience, targets, minibatch)

    def _policy_loss(
        self, logprobs_n: Tensor, piece: Piece, experience: Experience, targets: Advantages, minibatch: Minibatch
    ) -> LossOutput:
        behaviour_n, advantages_n = experience.behaviour_logprobs_N[piece.tokens_n], targets.advantages_N[piece.tokens_n]
        return clipped_policy(logprobs_n, behaviour_n, advantages_n, self.config.clip, minibatch.tokens)

    def _value_loss(
        self, values_n: Tensor, piece: Piece, experience: Experience, targets: Advantages, minibatch: Minibatch
    ) -> LossOutput:
        assert experience.values_N is not None
        rollout_n, returns_n = experience.values_N[piece.tokens_n], targets.returns_N[piece.tokens_n]
        loss = ppo_value(values_n, rollout_n, returns_n, self.config.value_clip, minibatch.tokens)
        return loss.scaled(self.config.value_coefficient)


def value_head(policy: PreTrainedModel) -> nn.Linear:
    """A head of one output on the policy's hidden states. At zero it says that every state is worth what the rewards' mean is."""
    width: int = policy.get_output_embeddings().weight.shape[1]
    head = nn.Linear(width, 1, device=policy.device, dtype=policy.dtype)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


def value_model(config: PPOConfig, inputs: RLInputs, models: Models) -> PreTrainedModel:
    """Reward member 0 with its normalisation folded into its head, so that it starts in the units of the reward."""
    if isinstance(inputs.reward, RewardFunction) or not isinstance(models.reward, RewardEnsemble):
        raise TruingError("a reward function has no model for a value model to start from: set ppo.value = 'shared_trunk'")
    model = load_scorer(member_directory(inputs.reward, 0), config.load)
    raw = model.get_parameter("score.weight").detach()
    head = nn.Linear(raw.shape[1], 1, bias=True, device=raw.device, dtype=raw.dtype)
    normalisation = models.reward.normalisation
    mean, std = normalisation.mean[0], normalisation.std[0]
    with torch.no_grad():
        head.weight.copy_(raw / std)
        head.bias.fill_(-mean / std)
    model.score = head
    return ready_to_train(model, config.load.lora, seed_for(config.seed, "value adapters"))


def explained_variance(values_N: Tensor, returns_N: Tensor) -> float:
    """1 - var(returns - values) / var(returns): 1 = the value model foresees all, 0 = no better than a constant."""
    variance = float(returns_N.var(unbiased=False))
    return 1 - float((returns_N - values_N).var(unbiased=False)) / variance if variance > 0 else 0.0
