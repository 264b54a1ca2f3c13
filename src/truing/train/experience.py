"""One update's worth of rollouts, scored by every model that is consulted: what the update then learns from.

Legend: B episodes (prompt + completion), N completion tokens of all episodes laid end to end, M reward members.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from truing.losses.policy import truncated_importance
from truing.models.forward import hidden_states, logprobs_at, token_logprobs, token_values, values_at
from truing.models.head import TokenScores
from truing.models.template import completion_text
from truing.records import Ending, Prompt, Rollout, SampledCompletion, seed_for
from truing.rollout.sampler import Sampler, SamplingSettings
from truing.train.behaviour import Mismatch, TrainerView
from truing.train.config import RLConfig
from truing.train.minibatches import Episodes, Minibatch, Piece, deal
from truing.train.rl_inputs import Models, PromptBatch, RewardFunction
from truing.train.rollout_log import Gold, RolloutMetrics, rollout_rows
from truing.train.side_by_side import side_by_side


class Timings(NamedTuple):
    """Seconds spent drawing completions, and scoring them."""

    sample_s: float
    score_s: float


@dataclass(frozen=True)
class Experience:
    """Episodes with everything known about them before the update. Tensors are on the policy's device."""

    minibatches: tuple[Minibatch, ...]
    rollouts: list[Rollout]
    metrics: RolloutMetrics
    timings: Timings
    group_size: int
    """Episodes of one prompt, which follow one another."""
    lengths_B: Tensor
    reward_B: Tensor
    sampler_logprobs_N: Tensor
    behaviour_logprobs_N: Tensor
    """What the ratio is taken to: the sampler's where they are exact, else the trainer's."""
    reference_logprobs_N: Tensor | None
    values_N: Tensor | None
    trainer: TrainerView
    mismatch: Mismatch | None
    """None where the policy did not score the tokens: its first training step then tells."""

    def importance_weights(self, cap: float) -> Tensor:
        """min(pi_trainer / pi_sampler, cap) [N]; 1 where the sampler's log-probabilities were taken as the trainer's."""
        if self.mismatch is None:
            return torch.ones_like(self.sampler_logprobs_N)
        return truncated_importance(self.trainer.logprobs_N, self.sampler_logprobs_N, cap)


def collect(
    update: int,
    prompts: PromptBatch,
    models: Models,
    sampler: Sampler,
    config: RLConfig,
    *,
    value: nn.Module | None = None,
    gold: Gold | None = None,
    skip_policy: bool = False,
) -> Experience:
    """Sample completions of an update's prompts and score them."""
    started = time.perf_counter()
    settings = SamplingSettings(max_new_tokens=config.max_new_tokens, temperature=config.temperature)
    settings.require_exact()
    seed = seed_for(config.seed, "sample", update)
    completions = sampler.sample(prompts.tokens, samples_per_prompt=config.samples_per_prompt, settings=settings, seed=seed)
    sample_s = time.perf_counter() - started
    return score(update, prompts, completions, models, config, value=value, gold=gold, skip_policy=skip_policy, sample_s=sample_s)


def score(
    update: int,
    prompts: PromptBatch,
    completions: Sequence[Sequence[SampledCompletion]],
    models: Models,
    config: RLConfig,
    *,
    value: nn.Module | None = None,
    gold: Gold | None = None,
    skip_policy: bool = False,
    sample_s: float = 0.0,
) -> Experience:
    """Score completions drawn of an update's prompts. Raises TruingError where sampler and trainer disagree too far.

    `value` is a value model of its own or a linear head on the policy's hidden states. With `skip_policy` the sampler's
    log-probabilities are taken as the policy's, which then runs only where the reference or a head on it needs to.
    """
    started = time.perf_counter()
    device = models.policy.device
    episodes = Episodes.of(prompts.tokens, completions)
    minibatches = deal(episodes, config, update, device)
    pieces = [piece for minibatch in minibatches for piece in minibatch.pieces]
    lengths_B = torch.tensor([len(one.tokens) for one in episodes.completions], device=device)
    texts = [completion_text(models.tokenizer, one.tokens) for one in episodes.completions]
    asked = [prompts.prompts[group] for group in episodes.group_B]

    trainer = TrainerView.empty(int(lengths_B.sum()), device)
    head = value if isinstance(value, nn.Linear) else None
    (values_N, reference_N), (own_values_N, members_MB) = side_by_side(
        lambda: (
            _policy_scores(pieces, models.policy, head, trainer, config, skip=skip_policy),
            _reference_scores(pieces, models, trainer, config),
        ),
        lambda: (
            _values(pieces, value, trainer) if isinstance(value, PreTrainedModel) else None,
            _reward_scores(pieces, models, asked, texts),
        ),
        device,
    )
    sampler_N = torch.tensor([logprob for one in episodes.completions for logprob in one.logprobs], device=device)
    mismatch = None if skip_policy else Mismatch.of(trainer, sampler_N)
    if mismatch is not None:
        mismatch.refuse(config)
    behaviour_N = sampler_N if skip_policy else trainer.logprobs_N.clone()
    reward_B = _rewards(members_MB.mean(0), episodes, config)
    return Experience(
        minibatches=minibatches,
        rollouts=rollout_rows(update, episodes, asked, texts, members_MB, behaviour_N, reference_N, lengths_B, gold),
        metrics=RolloutMetrics.of(episodes, members_MB, reward_B, behaviour_N, reference_N, lengths_B, config.samples_per_prompt),
        timings=Timings(sample_s, time.perf_counter() - started),
        group_size=config.samples_per_prompt,
        lengths_B=lengths_B,
        reward_B=reward_B.to(device),
        sampler_logprobs_N=sampler_N,
        behaviour_logprobs_N=behaviour_N,
        reference_logprobs_N=reference_N,
        values_N=own_values_N if values_N is None else values_N,
        trainer=trainer,
        mismatch=mismatch,
    )


def training_scores(
    policy: PreTrainedModel, piece: Piece, experience: Experience, config: RLConfig, hidden_TD: Tensor | None = None
) -> Tensor:
    """The policy's log-probabilities [n] of a piece's tokens, to be trained on. The first step tells the trainer's view."""
    wanted = experience.trainer.is_wanted
    hidden_TD = hidden_states(policy, piece.batch, piece.where.reading) if hidden_TD is None else hidden_TD
    scores = logprobs_at(policy, hidden_TD, piece.where, temperature=config.temperature, entropy=wanted)
    if wanted:
        experience.trainer.tell(piece.tokens_n, scores)
    return scores.logprobs_N


@torch.no_grad()
def _policy_scores(
    pieces: Sequence[Piece],
    policy: PreTrainedModel,
    value_head: nn.Module | None,
    trainer: TrainerView,
    config: RLConfig,
    *,
    skip: bool,
) -> Tensor | None:
    """One pass of the policy: what `trainer` is to know, unless skipped, and the values of a head on it, where there is one."""
    if skip and value_head is None:
        return None
    values_N = torch.empty_like(trainer.logprobs_N)
    for piece in pieces:
        hidden_TD = hidden_states(policy, piece.batch, piece.where.reading)
        if value_head is not None:
            values_N[piece.tokens_n] = values_at(value_head, hidden_TD, piece.where)
        if not skip:
            trainer.tell(
                piece.tokens_n, logprobs_at(policy, hidden_TD, piece.where, temperature=config.temperature, entropy=True)
            )
    trainer.is_wanted = skip
    return None if value_head is None else values_N


def _reference_scores(pieces: Sequence[Piece], models: Models, trainer: TrainerView, config: RLConfig) -> Tensor | None:
    """Runs after the policy's pass, in the same thread: with adapters, both are one model."""
    if models.reference is None:
        return None
    logprobs_N = torch.empty_like(trainer.logprobs_N)
    with models.reference.model() as reference, torch.no_grad():
        for piece in pieces:
            scores: TokenScores = token_logprobs(reference, piece.batch, piece.where, temperature=config.temperature)
            logprobs_N[piece.tokens_n] = scores.logprobs_N
    return logprobs_N


@torch.no_grad()
def _values(pieces: Sequence[Piece], value: PreTrainedModel, trainer: TrainerView) -> Tensor:
    values_N = torch.empty_like(trainer.logprobs_N)
    for piece in pieces:
        values_N[piece.tokens_n] = token_values(value, piece.batch, piece.where)
    return values_N


def _reward_scores(pieces: Sequence[Piece], models: Models, prompts: Sequence[Prompt], texts: Sequence[str]) -> Tensor:
    """Scores [M, B] on the CPU. A function is one member."""
    if isinstance(models.reward, RewardFunction):
        return models.reward.scores(prompts, texts)[None]
    members_MB = torch.empty(len(models.reward.members), len(texts))
    for piece in pieces:
        members_MB[:, piece.episodes_b.cpu()] = models.reward.score_batch(piece.batch)
    return members_MB


def _rewards(proxy_B: Tensor, episodes: Episodes, config: RLConfig) -> Tensor:
    """The proxy, or the penalty where the end is missing."""
    if config.missing_end_penalty is None:
        return proxy_B
    is_ended_B = torch.tensor([one.ending is Ending.END_OF_TURN for one in episodes.completions])
    return torch.where(is_ended_B, proxy_B, config.missing_end_penalty)
