"""One update's worth of rollouts, scored by every model that PPO consults: what the update then learns from.

Legend: B episodes (prompt + completion), N completion tokens of all episodes laid end to end, M reward members.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from truing.errors import TruingError
from truing.losses.policy import k1, kl_estimates
from truing.models.forward import token_logprobs, token_values
from truing.models.ragged import Positions, RaggedBatch
from truing.models.runs import token_runs
from truing.models.template import completion_text
from truing.records import Ending, Prompt, Rollout, SampledCompletion, seed_for
from truing.rollout.sampler import Sampler, SamplingSettings
from truing.train.config import PPOConfig
from truing.train.examples import Example, Trained, ragged, sequence_sums
from truing.train.ppo_inputs import Models, PromptBatch
from truing.train.side_by_side import side_by_side

Gold = Callable[[Prompt, str], float]


@dataclass(frozen=True)
class RolloutMetrics:
    """Means over an update's rollouts, before the update. `_se` are standard errors over prompts."""

    proxy: float
    """Mean score of the ensemble, without penalties."""
    proxy_se: float
    reward: float
    """What the policy is trained on: the proxy, or the penalty where the end is missing; before the KL penalty."""
    kl_nats: float
    """k1: what the penalty charges for, summed over a completion."""
    k1_se: float
    k2: float
    k2_se: float
    k3: float
    k3_se: float
    entropy_nats: float
    """Of the policy at the tokens it drew, at the sampling temperature."""
    length_tokens: float
    missing_end: float
    """Share of completions that ran into the length limit."""
    ensemble_spread: float
    """Standard deviation between members, mean over completions."""
    mismatch_nats: float
    """Mean |sampler - trainer| log-probability a token, and the largest."""
    mismatch_max_nats: float


@dataclass(frozen=True)
class Piece:
    """A micro-batch of episodes, and where its tokens lie among the N of the update."""

    batch: RaggedBatch
    where: Positions
    tokens_n: Tensor


class Timings(NamedTuple):
    """Seconds spent drawing completions, and scoring them."""

    sample_s: float
    score_s: float


class Drawn(NamedTuple):
    """A completion and the number of its prompt in the update."""

    group: int
    completion: SampledCompletion


class Scores(NamedTuple):
    """What every model says of the episodes."""

    trainer_N: Tensor
    entropy_N: Tensor
    reference_N: Tensor
    values_N: Tensor
    members_MB: Tensor
    """On the CPU."""


@dataclass(frozen=True)
class Experience:
    """Episodes with everything known about them before the update. Tensors are on the policy's device."""

    episodes: list[Example]
    rollouts: list[Rollout]
    metrics: RolloutMetrics
    timings: Timings
    lengths_B: Tensor
    reward_B: Tensor
    trainer_logprobs_N: Tensor
    """Of the weights that drew the tokens, computed by the trainer: what the ratio is taken to."""
    reference_logprobs_N: Tensor
    values_N: Tensor

    def pieces(self, rows: Sequence[int], budget: int) -> list[Piece]:
        """Cut episodes into micro-batches of at most `budget` tokens."""
        starts = (self.lengths_B.cumsum(0) - self.lengths_B).tolist()
        lengths = self.lengths_B.tolist()
        pieces = []
        for run in token_runs(rows, [len(episode.tokens) for episode in self.episodes], budget):
            batch, where = ragged([self.episodes[row] for row in run], self.lengths_B.device)
            places = [torch.arange(starts[row], starts[row] + lengths[row]) for row in run]
            pieces.append(Piece(batch, where, torch.cat(places).to(self.lengths_B.device)))
        return pieces


def collect(
    update: int, prompts: PromptBatch, models: Models, sampler: Sampler, config: PPOConfig, gold: Gold | None
) -> Experience:
    """Sample completions of an update's prompts and score them. Raises TruingError where sampler and trainer disagree too far."""
    started = time.perf_counter()
    settings = SamplingSettings(max_new_tokens=config.max_new_tokens, temperature=config.temperature)
    settings.require_exact()
    seed = seed_for(config.seed, "ppo", "sample", update)
    groups = sampler.sample(prompts.tokens, samples_per_prompt=config.samples_per_prompt, settings=settings, seed=seed)
    drawn = [Drawn(group, completion) for group, completions in enumerate(groups) for completion in completions]
    sampled = time.perf_counter()

    episodes = [_episode(prompts.tokens[one.group], one.completion) for one in drawn]
    lengths_B = torch.tensor([episode.n_trained for episode in episodes], device=models.policy.device)
    scores = _score(episodes, models, config)
    is_ended_B = torch.tensor([one.completion.ending is Ending.END_OF_TURN for one in drawn])
    reward_B = torch.where(is_ended_B, scores.members_MB.mean(0), config.missing_end_penalty)
    metrics = _metrics(drawn, scores, lengths_B, reward_B, config)
    _refuse_mismatch(metrics.mismatch_nats, config.max_mismatch_nats)
    return Experience(
        episodes=episodes,
        rollouts=_rollouts(update, prompts.prompts, drawn, scores, lengths_B, models.tokenizer, gold),
        metrics=metrics,
        timings=Timings(sampled - started, time.perf_counter() - sampled),
        lengths_B=lengths_B,
        reward_B=reward_B.to(lengths_B.device),
        trainer_logprobs_N=scores.trainer_N,
        reference_logprobs_N=scores.reference_N,
        values_N=scores.values_N,
    )


def group_standard_error(values: Sequence[float], group_size: int) -> float:
    """Standard error of a mean whose samples come in groups of one prompt each; 0 with a single group."""
    means = torch.tensor(values, dtype=torch.float64).view(-1, group_size).mean(1)
    return float(means.std()) / len(means) ** 0.5 if len(means) > 1 else 0.0


def _episode(prompt: list[int], completion: SampledCompletion) -> Example:
    return Example([*prompt, *completion.tokens], [False] * len(prompt) + [True] * len(completion.tokens))


def _batches(model: PreTrainedModel, episodes: Sequence[Example], config: PPOConfig) -> Iterator[Trained]:
    lengths = [len(episode.tokens) for episode in episodes]
    for run in token_runs(range(len(episodes)), lengths, config.micro_batch_tokens):
        yield ragged([episodes[row] for row in run], model.device)


def _score(episodes: Sequence[Example], models: Models, config: PPOConfig) -> Scores:
    """Run every model over the episodes, without gradients."""
    sequences = [episode.tokens for episode in episodes]
    (trainer, reference), (values_N, members_MB) = side_by_side(
        lambda: (
            _policy_scores(models.policy, episodes, config, entropy=True),
            _policy_scores(models.reference, episodes, config, entropy=False),
        ),
        lambda: (_values(models.value, episodes, config), models.reward.score(sequences)),
        models.policy.device,
    )
    return Scores(trainer.logprobs_N, trainer.entropy_N, reference.logprobs_N, values_N, members_MB)


class _PolicyScores(NamedTuple):
    logprobs_N: Tensor
    entropy_N: Tensor


@torch.no_grad()
def _policy_scores(model: PreTrainedModel, episodes: Sequence[Example], config: PPOConfig, *, entropy: bool) -> _PolicyScores:
    """Log-probabilities at the sampling temperature, and entropies (empty where not asked for)."""
    scores = [
        token_logprobs(model, batch, where, temperature=config.temperature, entropy=entropy)
        for batch, where in _batches(model, episodes, config)
    ]
    entropies = [score.entropy_N for score in scores if score.entropy_N is not None]
    return _PolicyScores(torch.cat([score.logprobs_N for score in scores]), torch.cat(entropies) if entropy else torch.empty(0))


@torch.no_grad()
def _values(model: PreTrainedModel, episodes: Sequence[Example], config: PPOConfig) -> Tensor:
    return torch.cat([token_values(model, batch, where) for batch, where in _batches(model, episodes, config)])


def _rollouts(
    update: int,
    prompts: Sequence[Prompt],
    drawn: Sequence[Drawn],
    scores: Scores,
    lengths_B: Tensor,
    tokenizer: PreTrainedTokenizerBase,
    gold: Gold | None,
) -> list[Rollout]:
    """What is written down of each episode."""
    kl_B = sequence_sums(k1(scores.trainer_N, scores.reference_N), lengths_B).tolist()
    proxy_B, members_BM = scores.members_MB.mean(0).tolist(), scores.members_MB.T.tolist()
    rollouts = []
    for (group, completion), proxy, members, kl in zip(drawn, proxy_B, members_BM, kl_B, strict=True):
        text = completion_text(tokenizer, completion.tokens)
        rollouts.append(
            Rollout(
                update=update,
                group=group,
                prompt=prompts[group],
                text=text,
                length_tokens=len(completion.tokens),
                ending=completion.ending,
                proxy=proxy,
                proxy_members=tuple(members),
                kl_nats=kl,
                gold=None if gold is None else gold(prompts[group], text),
            )
        )
    return rollouts


def _metrics(drawn: Sequence[Drawn], scores: Scores, lengths_B: Tensor, reward_B: Tensor, config: PPOConfig) -> RolloutMetrics:
    sampler_N = torch.tensor([p for one in drawn for p in one.completion.logprobs], device=lengths_B.device)
    mismatch_N = (sampler_N - scores.trainer_N).abs()
    proxy_B = scores.members_MB.mean(0)
    kl = kl_estimates(scores.trainer_N, scores.reference_N, lengths_B)
    return RolloutMetrics(
        proxy=float(proxy_B.mean()),
        proxy_se=group_standard_error(proxy_B.tolist(), config.samples_per_prompt),
        reward=float(reward_B.mean()),
        kl_nats=kl.k1,
        k1_se=kl.k1_se,
        k2=kl.k2,
        k2_se=kl.k2_se,
        k3=kl.k3,
        k3_se=kl.k3_se,
        entropy_nats=float(scores.entropy_N.mean()),
        length_tokens=float(lengths_B.float().mean()),
        missing_end=sum(one.completion.ending is not Ending.END_OF_TURN for one in drawn) / len(drawn),
        ensemble_spread=float(scores.members_MB.std(0, unbiased=False).mean()),
        mismatch_nats=float(mismatch_N.mean()),
        mismatch_max_nats=float(mismatch_N.max()),
    )


def _refuse_mismatch(mismatch_nats: float, limit: float) -> None:
    if not mismatch_nats <= limit:  # NaN is refused too
        raise TruingError(
            f"ppo: the sampler's log-probabilities differ from the trainer's by {mismatch_nats:.3g} nats a token "
            f"(max_mismatch_nats = {limit:g}): the rollouts are not of the weights being trained. Load the model in float32 "
            "(load.dtype), or raise ppo.max_mismatch_nats if the difference is known to be rounding."
        )
