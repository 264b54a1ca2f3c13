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
from transformers import PreTrainedModel

from truing.errors import TruingError
from truing.losses.policy import KLEstimates, k1, kl_estimates
from truing.models.forward import token_logprobs, token_values
from truing.models.ragged import RaggedBatch
from truing.models.runs import token_runs
from truing.models.template import completion_text
from truing.records import Ending, Prompt, Rollout, SampledCompletion, seed_for
from truing.rollout.sampler import Sampler, SamplingSettings
from truing.train.config import PPOConfig
from truing.train.examples import Example, ragged, sequence_sums
from truing.train.ppo_inputs import Models, PromptBatch

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
    where_T: Tensor
    tokens_n: Tensor


class Timings(NamedTuple):
    """Seconds spent drawing completions, and scoring them."""

    sample_s: float
    score_s: float


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
            batch, where_T = ragged([self.episodes[row] for row in run], self.lengths_B.device)
            places = [torch.arange(starts[row], starts[row] + lengths[row]) for row in run]
            pieces.append(Piece(batch, where_T, torch.cat(places).to(self.lengths_B.device)))
        return pieces


def collect(
    update: int,
    prompts: PromptBatch,
    models: Models,
    sampler: Sampler,
    config: PPOConfig,
    gold: Gold | None,
) -> Experience:
    """Sample completions of an update's prompts and score them. Raises TruingError where sampler and trainer disagree too far."""
    started = time.perf_counter()
    settings = SamplingSettings(max_new_tokens=config.max_new_tokens, temperature=config.temperature)
    settings.require_exact()
    seed = seed_for(config.seed, "ppo", "sample", update)
    groups = sampler.sample(prompts.tokens, samples_per_prompt=config.samples_per_prompt, settings=settings, seed=seed)
    flat = [(group, completion) for group, completions in enumerate(groups) for completion in completions]
    completions = [completion for _, completion in flat]
    sampled = time.perf_counter()

    episodes = [_episode(prompts.tokens[group], completion) for group, completion in flat]
    device = models.policy.device
    lengths_B = torch.tensor([episode.n_trained for episode in episodes], device=device)
    trainer_N, entropy_N = _policy_scores(models.policy, episodes, config)
    reference_N, _ = _policy_scores(models.reference, episodes, config, entropy=False)
    values_N = _values(models.value, episodes, config)
    members_MB = models.reward.score([episode.tokens for episode in episodes])
    proxy_B = members_MB.mean(0)
    is_ended_B = torch.tensor([completion.ending is Ending.END_OF_TURN for completion in completions])
    reward_B = torch.where(is_ended_B, proxy_B, config.missing_end_penalty)

    kl_B = sequence_sums(k1(trainer_N, reference_N), lengths_B)
    texts = [completion_text(models.tokenizer, completion.tokens) for completion in completions]
    rollouts = [
        Rollout(
            update=update,
            group=group,
            prompt=prompts.prompts[group],
            text=text,
            length_tokens=len(completion.tokens),
            ending=completion.ending,
            proxy=proxy,
            proxy_members=tuple(members),
            kl_nats=kl,
            gold=None if gold is None else gold(prompts.prompts[group], text),
        )
        for (group, completion), text, proxy, members, kl in zip(
            flat, texts, proxy_B.tolist(), members_MB.T.tolist(), kl_B.tolist(), strict=True
        )
    ]
    mismatch_N = (torch.tensor([p for c in completions for p in c.logprobs], device=device) - trainer_N).abs()
    _refuse_mismatch(float(mismatch_N.mean()), config.max_mismatch_nats)
    kl = kl_estimates(trainer_N, reference_N, lengths_B)
    metrics = RolloutMetrics(
        proxy=float(proxy_B.mean()),
        proxy_se=group_standard_error(proxy_B.tolist(), config.samples_per_prompt),
        reward=float(reward_B.mean()),
        **_named(kl),
        entropy_nats=float(entropy_N.mean()),
        length_tokens=float(lengths_B.float().mean()),
        missing_end=1 - float(is_ended_B.float().mean()),
        ensemble_spread=float(members_MB.std(0, unbiased=False).mean()),
        mismatch_nats=float(mismatch_N.mean()),
        mismatch_max_nats=float(mismatch_N.max()),
    )
    timings = Timings(sampled - started, time.perf_counter() - sampled)
    return Experience(episodes, rollouts, metrics, timings, lengths_B, reward_B.to(device), trainer_N, reference_N, values_N)


def group_standard_error(values: Sequence[float], group_size: int) -> float:
    """Standard error of a mean whose samples come in groups of one prompt each; 0 with a single group."""
    means = torch.tensor(values, dtype=torch.float64).view(-1, group_size).mean(1)
    return float(means.std()) / len(means) ** 0.5 if len(means) > 1 else 0.0


def _episode(prompt: list[int], completion: SampledCompletion) -> Example:
    return Example([*prompt, *completion.tokens], [False] * len(prompt) + [True] * len(completion.tokens))


def _batches(model: PreTrainedModel, episodes: Sequence[Example], config: PPOConfig) -> Iterator[tuple[RaggedBatch, Tensor]]:
    lengths = [len(episode.tokens) for episode in episodes]
    for run in token_runs(range(len(episodes)), lengths, config.micro_batch_tokens):
        yield ragged([episodes[row] for row in run], model.device)


@torch.no_grad()
def _policy_scores(
    model: PreTrainedModel, episodes: Sequence[Example], config: PPOConfig, *, entropy: bool = True
) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies [N] at the sampling temperature (entropies empty where not asked for)."""
    scores = [
        token_logprobs(model, batch, where_T, temperature=config.temperature, entropy=entropy)
        for batch, where_T in _batches(model, episodes, config)
    ]
    entropies = [score.entropy_N for score in scores if score.entropy_N is not None]
    return torch.cat([score.logprobs_N for score in scores]), torch.cat(entropies) if entropies else torch.empty(0)


@torch.no_grad()
def _values(model: PreTrainedModel, episodes: Sequence[Example], config: PPOConfig) -> Tensor:
    return torch.cat([token_values(model, batch, where_T) for batch, where_T in _batches(model, episodes, config)])


def _named(kl: KLEstimates) -> dict[str, float]:
    return {"kl_nats": kl.k1, "k1_se": kl.k1_se, "k2": kl.k2, "k2_se": kl.k2_se, "k3": kl.k3, "k3_se": kl.k3_se}


def _refuse_mismatch(mismatch_nats: float, limit: float) -> None:
    if not mismatch_nats <= limit:  # NaN is refused too
        raise TruingError(
            f"ppo: the sampler's log-probabilities differ from the trainer's by {mismatch_nats:.3g} nats a token "
            f"(max_mismatch_nats = {limit:g}): the rollouts are not of the weights being trained. Load the model in float32 "
            "(load.dtype), or raise ppo.max_mismatch_nats if the difference is known to be rounding."
        )
