"""Reward-hacking signals over rollouts: pure functions of what a policy wrote and what the reward model said. No torch, no gold.

The main one is the partial correlation of reward with length, within prompt and given content. ODIN (Chen et al. 2024,
arXiv:2402.07319) measures a reward model by its correlation with length; but where longer answers are truly better because they
say more, plain correlation, length drift and the length share of the gain all go up in honest training. What a longer answer
says shows in words that belong to its prompt; what pads it shows in words that go with any prompt. So content is held fixed:

    content c(y)  = number of words of y that occur under at most `common_share` of the prompts (high inverse document frequency)
    signal        = corr( proxy, length | c ), every variable less its mean over the samples of the same prompt and update

Refusals are compared with refusals only (another kind of answer, not a longer one) and truncated samples are left out (PPO gives
them a fixed penalty, not the reward). It needs two or more samples a prompt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from truing.data.phrases import has_phrase
from truing.evals.text import ngrams, repeated_share, words
from truing.records import Ending, Estimate, Rollout
from truing.stats.correlation import partial_correlation
from truing.stats.intervals import (
    bootstrap,
    difference_interval,
    mean_interval,
    wilson_clustered,
)

Floats = NDArray[np.float64]
_BUCKETS = 5
_BOOTSTRAPS = 100
_LONGEST_PHRASE = 3


def content_counts(texts: Sequence[str], prompt_ids: Sequence[str], common_share: float) -> Floats:
    """Prompt-specific words in each text: those that occur under at most max(1, common_share * prompts) of the prompts."""
    used_under: dict[str, set[str]] = {}
    for text, prompt_id in zip(texts, prompt_ids, strict=True):
        for word in set(words(text)):
            used_under.setdefault(word, set()).add(prompt_id)
    limit = max(1.0, common_share * len(set(prompt_ids)))
    specific = {word for word, prompts in used_under.items() if len(prompts) <= limit}
    return np.array([sum(word in specific for word in words(text)) for text in texts], dtype=np.float64)


def reward_length(rollouts: Sequence[Rollout], refusals: tuple[str, ...], common_share: float | None) -> Estimate | None:
    """Within-prompt correlation of proxy with length given content (module docstring); without content for common_share None.

    None where fewer than five prompts have samples that differ.
    """
    kept = _finished(rollouts)
    lengths = np.array([r.length_tokens for r in kept], dtype=np.float64)
    content = [content_counts([r.text for r in kept], [r.prompt.prompt_id for r in kept], common_share)] if common_share else []
    return partial_correlation([r.proxy for r in kept], lengths, content, _cells(kept, refusals))


def reward_marker(rollouts: Sequence[Rollout], phrases: tuple[str, ...], refusals: tuple[str, ...]) -> Estimate | None:
    """Within-prompt correlation of proxy with holding one of `phrases`: does the reward model pay for the manner?"""
    kept = _finished(rollouts)
    return partial_correlation(
        [r.proxy for r in kept], [has_phrase(r.text, phrases) for r in kept], groups=_cells(kept, refusals)
    )


def marker_rate(rollouts: Sequence[Rollout], phrases: tuple[str, ...]) -> Estimate:
    """Share of samples holding one of `phrases`, clustered by prompt."""
    return wilson_clustered([has_phrase(r.text, phrases) for r in rollouts], _prompts(rollouts))


def rise(now: Estimate | None, start: Estimate | None) -> Estimate | None:
    """Now - start, or None where either is missing."""
    return difference_interval(now, start) if now is not None and start is not None else None


def mean_of(rollouts: Sequence[Rollout], values: Sequence[float]) -> Estimate | None:
    """Mean of one value a sample, clustered by prompt; None with fewer than two prompts."""
    prompts = _prompts(rollouts)
    return mean_interval(values, prompts) if len(set(prompts)) > 1 else None


def kl_nats(rollouts: Sequence[Rollout]) -> Estimate | None:
    """Mean KL to the reference a sample (k1 summed over tokens); None where there was no reference."""
    kl_nats = [r.kl_nats for r in rollouts if r.kl_nats is not None]
    return mean_of(rollouts, kl_nats) if len(kl_nats) == len(rollouts) else None


def repetition(rollouts: Sequence[Rollout]) -> Estimate | None:
    """Mean share of repeated 3-grams within a sample."""
    return mean_of(rollouts, [repeated_share(r.text) for r in rollouts])


def truncated_rate(rollouts: Sequence[Rollout]) -> Estimate:
    """Share of samples that hit the token limit."""
    return wilson_clustered([r.ending is Ending.LENGTH for r in rollouts], _prompts(rollouts))


def spread_ratio(now: Sequence[Rollout], start: Sequence[Rollout]) -> Estimate | None:
    """Mean standard deviation over the ensemble's members, relative to the start; None with one member."""
    if any(len(r.proxy_members) < 2 for r in (*now, *start)):
        return None
    spreads = [np.std(np.array([r.proxy_members for r in rows]), axis=1) for rows in (now, start)]
    base = float(spreads[1].mean())
    return mean_of(now, (spreads[0] / base).tolist()) if base > 0 else None


def sharing(rollouts: Sequence[Rollout]) -> Estimate | None:
    """Mean share of a sample's 2-grams that samples of other prompts use too, within one update: it rises in collapse.

    It grows with the size of the set: compare updates of equal size.
    """
    used_under: dict[tuple[str, ...], set[str]] = {}
    grams = [ngrams(words(r.text), 2) for r in rollouts]
    for rollout, own in zip(rollouts, grams, strict=True):
        for gram in own:
            used_under.setdefault(gram, set()).add(rollout.prompt.prompt_id)
    return mean_of(rollouts, [sum(len(used_under[g]) > 1 for g in own) / len(own) if own else 0.0 for own in grams])


def length_share(now: Sequence[Rollout], start: Sequence[Rollout]) -> Estimate | None:
    """Share of the proxy's gain since the start that is length (Singhal et al. 2023, arXiv:2310.03716).

    1 - sum over length buckets of w * (gain at that length) / total gain; buckets are fifths of the pooled lengths, w their
    share of the samples now. None until the gain's interval is above 0, or where a bucket now used had no sample at the start.
    """
    gained, began = mean_of(now, [r.proxy for r in now]), mean_of(start, [r.proxy for r in start])
    gain = rise(gained, began)
    if gain is None or gain.low <= 0:
        return None
    rows = [*now, *start]
    is_now = np.arange(len(rows)) < len(now)
    lengths, proxy = np.array([r.length_tokens for r in rows]), np.array([r.proxy for r in rows])
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, _BUCKETS + 1)[1:-1]))
    bucket = np.searchsorted(edges, lengths, side="right")

    def share(chosen: NDArray[np.intp]) -> float:
        return _length_share(proxy[chosen], bucket[chosen], is_now[chosen])

    value = share(np.arange(len(rows)))
    draws = bootstrap(share, [(bool(n), r.prompt.prompt_id) for n, r in zip(is_now, rows, strict=True)], resamples=_BOOTSTRAPS)
    draws = draws[np.isfinite(draws)]
    if not np.isfinite(value) or len(draws) < _BOOTSTRAPS / 2:
        return None
    low, high = np.quantile(draws, [0.025, 0.975])
    return Estimate(value=value, low=min(value, float(low)), high=max(value, float(high)), n=gain.n)


def phrase_rise(now: Sequence[Rollout], start: Sequence[Rollout], common_share: float) -> tuple[Estimate, str] | None:
    """The phrase of one to three words that spread most since the start, whatever it says, and the rise in its share of samples.

    Only phrases that go with many prompts count. It finds habits nobody listed: a new opening, a stock ending, junk.
    """
    share_now, share_start = _phrase_shares(now), _phrase_shares(start)
    prompts = {r.prompt.prompt_id for r in now}
    best = max(share_now, key=lambda g: (share_now[g] - share_start.get(g, 0.0), len(g), g), default=None)
    if best is None:
        return None
    holds = [best in _phrases(r.text) for r in now]
    under = {r.prompt.prompt_id for r, held in zip(now, holds, strict=True) if held}
    if len(under) <= max(1.0, common_share * len(prompts)):
        return None
    before = wilson_clustered([best in _phrases(r.text) for r in start], _prompts(start))
    return difference_interval(wilson_clustered(holds, _prompts(now)), before), " ".join(best)


def longest_step(rollouts: Sequence[Rollout]) -> tuple[Rollout, Rollout] | None:
    """Evidence for a length alarm: of two samples of one prompt, the longer scored higher, with the widest gap in length."""
    groups: dict[tuple[int, str], list[Rollout]] = {}
    for rollout in _finished(rollouts):
        groups.setdefault((rollout.update, rollout.prompt.prompt_id), []).append(rollout)
    pairs = [
        (long, short)
        for group in groups.values()
        for long in group
        for short in group
        if long.length_tokens > short.length_tokens and long.proxy > short.proxy
    ]
    return max(pairs, key=lambda p: p[0].length_tokens - p[1].length_tokens, default=None)


def _length_share(proxy: Floats, bucket: NDArray[np.intp], is_now: NDArray[np.bool_]) -> float:
    size = int(bucket.max()) + 1
    counts = [np.bincount(bucket[side], minlength=size) for side in (is_now, ~is_now)]
    sums = [np.bincount(bucket[side], proxy[side], size) for side in (is_now, ~is_now)]
    total = proxy[is_now].mean() - proxy[~is_now].mean()
    used = counts[0] > 0
    if total <= 0 or (counts[1][used] == 0).any():
        return float("nan")
    gains = sums[0][used] / counts[0][used] - sums[1][used] / counts[1][used]
    return float(1 - (counts[0][used] / counts[0].sum() * gains).sum() / total)


def _phrase_shares(rollouts: Sequence[Rollout]) -> dict[tuple[str, ...], float]:
    counts = Counter(gram for r in rollouts for gram in _phrases(r.text))
    return {gram: count / len(rollouts) for gram, count in counts.items()}


@lru_cache(maxsize=16384)
def _phrases(text: str) -> frozenset[tuple[str, ...]]:
    tokens = words(text)
    return frozenset(gram for n in range(1, _LONGEST_PHRASE + 1) for gram in ngrams(tokens, n))


def _cells(rollouts: Sequence[Rollout], refusals: tuple[str, ...]) -> list[tuple[int, str, bool]]:
    return [(r.update, r.prompt.prompt_id, has_phrase(r.text, refusals)) for r in rollouts]


def _finished(rollouts: Sequence[Rollout]) -> list[Rollout]:
    return [r for r in rollouts if r.ending is not Ending.LENGTH]


def _prompts(rollouts: Sequence[Rollout]) -> list[str]:
    return [r.prompt.prompt_id for r in rollouts]
