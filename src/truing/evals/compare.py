"""Two evaluated policies side by side, paired on the prompts they share. Pure: it reads the samples both left on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from truing.errors import TruingError
from truing.evals.report import paired_difference
from truing.evals.win_rate import WinRate, win_rate
from truing.records import Estimate, Record, Rollout


class PolicyComparison(Record):
    """First less second in proxy (and gold where known), and how often the first's answer is the better one."""

    prompts: int
    proxy: Estimate
    gold: Estimate | None
    win_rate_by_proxy: WinRate
    win_rate_by_gold: WinRate | None


def compare(first: Sequence[Rollout], second: Sequence[Rollout]) -> PolicyComparison:
    """Compare two policies' `samples.jsonl`. Raises TruingError where they share fewer than two prompts."""
    pairs = _pair(first, second)
    prompts = {one.prompt.prompt_id for one, _ in pairs}
    if len(prompts) < 2:
        raise TruingError("the two evaluations share fewer than two prompts: evaluate both on the same held-out prompts")
    has_gold = all(r.gold is not None for pair in pairs for r in pair)
    return PolicyComparison(
        prompts=len(prompts),
        proxy=paired_difference(first, second, _proxy),
        gold=paired_difference(first, second, _gold) if has_gold else None,
        win_rate_by_proxy=_win_rate(pairs, _proxy),
        win_rate_by_gold=_win_rate(pairs, _gold) if has_gold else None,
    )


def _pair(first: Sequence[Rollout], second: Sequence[Rollout]) -> list[tuple[Rollout, Rollout]]:
    """The i-th sample of a prompt against the i-th, for prompts that both answered."""
    others: dict[str, list[Rollout]] = {}
    for rollout in second:
        others.setdefault(rollout.prompt.prompt_id, []).append(rollout)
    queues = {key: iter(group) for key, group in others.items()}
    paired = [(one, next(queues.get(one.prompt.prompt_id, iter(())), None)) for one in first]
    return [(one, other) for one, other in paired if other is not None]


def _win_rate(pairs: Sequence[tuple[Rollout, Rollout]], value: Callable[[Rollout], float]) -> WinRate:
    gaps = [value(one) - value(other) for one, other in pairs]
    wins = [0.5 if gap == 0 else float(gap > 0) for gap in gaps]
    lengths = [one.length_tokens - other.length_tokens for one, other in pairs]
    return win_rate(wins, lengths, [one.prompt.prompt_id for one, _ in pairs])


def _proxy(rollout: Rollout) -> float:
    return rollout.proxy


def _gold(rollout: Rollout) -> float:
    return rollout.gold if rollout.gold is not None else 0.0
