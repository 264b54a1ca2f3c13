"""Is a rater reading? Gold, blind repeats, speed and straight lines, rater by rater. A check flags; it rejects nobody.

Gold, sides and ties are tested sequentially (`stats/sequential.py`): one may look after every judgment, and the stated error
rate still holds over a rater's whole career.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, pairwise
from typing import Literal

import numpy as np
from pydantic import Field

from truing.raters.config import ChecksConfig
from truing.records import Comparison, Estimate, Judgment, Record
from truing.stats.intervals import wilson
from truing.stats.sequential import fair_coin, rate_at_least, rate_at_most

Kind = Literal[
    "gold", "repeats", "speed", "left", "pattern", "ties", "duplicate",
    "drift_gold", "drift_reliability", "drift_time", "drift_ties",
]  # fmt: skip


class Flag(Record):
    """Something about a rater to look at. `at_judgment` counts their judgments from 1: by then it was plain."""

    rater_id: str
    kind: Kind
    message: str
    at_judgment: int | None = None
    evidence: dict[str, float] = Field(default_factory=dict)


class RaterChecks(Record):
    """What the checks measured of one rater. None where there was nothing to measure it on.

    `answer_bits` is the entropy of left, tie and right (0 = always the same, log2(3) = 1.58 at most); `longest_run` the most
    answers in a row on one side.
    """

    rater_id: str
    judgments: int
    gold: Estimate | None
    repeats: Estimate | None
    left: Estimate | None
    ties: Estimate
    fast: Estimate | None
    median_s: float | None
    answer_bits: float
    longest_run: int


def by_rater(judgments: Iterable[Judgment]) -> dict[str, list[Judgment]]:
    """Each rater's judgments, in the order given."""
    found: dict[str, list[Judgment]] = {}
    for judgment in judgments:
        found.setdefault(judgment.rater_id, []).append(judgment)
    return found


def check_rater(
    judgments: Sequence[Judgment], comparisons: Mapping[str, Comparison], usual_s: UsualTime, config: ChecksConfig
) -> tuple[RaterChecks, list[Flag]]:
    """What one rater's judgments, in order, show. `comparisons` by id."""
    fast = fast_answers(judgments, comparisons, usual_s, config)
    decided = sides(judgments)
    checks = RaterChecks(
        rater_id=judgments[0].rater_id,
        judgments=len(judgments),
        gold=_rate(right for _, right in gold_answers(judgments, comparisons)),
        repeats=_rate(repeated_alike(judgments)),
        left=_rate(chose_left for _, chose_left in decided),
        ties=wilson(sum(j.choice == "tie" for j in judgments), len(judgments)),
        fast=_rate(is_fast for _, is_fast in fast),
        median_s=float(np.median(times)) if (times := [j.active_s for j in judgments if j.active_s is not None]) else None,
        answer_bits=_entropy_bits(_on_screen(j) for j in judgments),
        longest_run=max((len(list(run)) for _, run in groupby(side for _, side in decided)), default=0),
    )
    found = (
        _gold_flag(checks, gold_answers(judgments, comparisons), config),
        _repeats_flag(checks, config),
        _speed_flag(checks, fast, config),
        _left_flag(checks, judgments, decided, config),
        _pattern_flag(checks, judgments, decided, config),
        _ties_flag(checks, judgments, config),
    )
    return checks, [flag for flag in found if flag is not None]


def gold_answers(judgments: Sequence[Judgment], comparisons: Mapping[str, Comparison]) -> list[tuple[int, bool]]:
    """(number of the judgment from 0, whether it is gold's answer) for gold comparisons, first answers only."""
    return [
        (number, judgment.choice == gold)
        for number, judgment in enumerate(judgments)
        if not judgment.repeat and (gold := comparisons[judgment.comparison_id].gold) is not None
    ]


def repeated_alike(judgments: Sequence[Judgment]) -> list[bool]:
    """For each blind repeat whether it is the rater's first answer again."""
    first = {j.comparison_id: j.choice for j in reversed(judgments) if not j.repeat}
    return [j.choice == first[j.comparison_id] for j in judgments if j.repeat and j.comparison_id in first]


def sides(judgments: Sequence[Judgment]) -> list[tuple[int, bool]]:
    """(number of the judgment from 0, whether the left one was chosen) where one was, and it is known which was at left."""
    return [(n, j.choice == j.left) for n, j in enumerate(judgments) if j.choice != "tie" and j.left is not None]


def sides_were_drawn(judgments: Sequence[Judgment]) -> bool:
    """Whether both answers of stored order stood at left at some time: else runs and sides are those of the data's order."""
    return len({j.left for j in judgments if j.left is not None}) == 2


class UsualTime:
    """Seconds that a rater usually takes for so many characters: own median at an elasticity that all raters share.

    log t = own level + elasticity * log(characters), the elasticity by least squares within raters, kept between 0 and 1.
    """

    def __init__(self, workforce: Mapping[str, Sequence[Judgment]], comparisons: Mapping[str, Comparison]) -> None:
        logs = {rater: _log_times(judgments, comparisons) for rater, judgments in workforce.items()}
        logs = {rater: pairs for rater, pairs in logs.items() if len(pairs)}
        centred = [pairs - pairs.mean(axis=0) for pairs in logs.values()]
        joined = np.concatenate(centred) if centred else np.zeros((0, 2))
        spread = float((joined[:, 0] ** 2).sum())
        self.elasticity = min(1.0, max(0.0, float((joined[:, 0] * joined[:, 1]).sum()) / spread)) if spread > 0 else 0.0
        self._level = {rater: float(np.median(p[:, 1] - self.elasticity * p[:, 0])) for rater, p in logs.items()}

    def seconds(self, rater_id: str, characters: int) -> float | None:
        """None for a rater whose times are not known."""
        level = self._level.get(rater_id)
        return None if level is None else math.exp(level + self.elasticity * math.log(max(1, characters)))


def fast_answers(
    judgments: Sequence[Judgment], comparisons: Mapping[str, Comparison], usual_s: UsualTime, config: ChecksConfig
) -> list[tuple[int, bool]]:
    """(number of the judgment, whether it was faster than reading) where the time is known."""
    found = []
    for number, judgment in enumerate(judgments):
        usual = usual_s.seconds(judgment.rater_id, characters(comparisons[judgment.comparison_id]))
        if judgment.active_s is not None and usual is not None:
            found.append((number, judgment.active_s < max(config.fast_s, config.fast_share * usual)))
    return found


def characters(comparison: Comparison) -> int:
    """What there is to read: the last turn of the prompt and both answers."""
    return len(comparison.prompt.text) + len(comparison.first) + len(comparison.second)


def _log_times(judgments: Sequence[Judgment], comparisons: Mapping[str, Comparison]) -> np.ndarray:
    """(log characters, log seconds) a row, of judgments that took any time."""
    known = [(j, j.active_s) for j in judgments if j.active_s]
    return np.array([(math.log(max(1, characters(comparisons[j.comparison_id]))), math.log(t)) for j, t in known]).reshape(-1, 2)


def _gold_flag(checks: RaterChecks, answers: Sequence[tuple[int, bool]], config: ChecksConfig) -> Flag | None:
    bet = config.gold_pass_mark - 0.2
    test = rate_at_least([right for _, right in answers], config.gold_pass_mark, bet=max(bet, 0.05), alpha=config.gold_alpha)
    if test.crossed_at is None or checks.gold is None:
        return None
    message = f"{checks.gold.value:.0%} of {len(answers)} gold answers right, below the pass mark of {config.gold_pass_mark:.0%}"
    return _flag(checks, "gold", message, answers[test.crossed_at - 1][0], p_value=test.p_value, accuracy=checks.gold.value)


def _repeats_flag(checks: RaterChecks, config: ChecksConfig) -> Flag | None:
    if checks.repeats is None or checks.repeats.high >= config.repeat_consistency:
        return None
    message = f"{checks.repeats.value:.0%} of {checks.repeats.n} blind repeats answered as before"
    return _flag(checks, "repeats", message, checks.judgments - 1, consistency=checks.repeats.value, high=checks.repeats.high)


def _speed_flag(checks: RaterChecks, fast: Sequence[tuple[int, bool]], config: ChecksConfig) -> Flag | None:
    bet = (1 + 3 * config.fast_answers) / 4
    test = rate_at_most([is_fast for _, is_fast in fast], config.fast_answers, bet=bet, alpha=config.fast_alpha)
    if test.crossed_at is None or checks.fast is None:
        return None
    message = f"{checks.fast.value:.0%} of {checks.fast.n} answers came faster than the texts can be read"
    return _flag(checks, "speed", message, fast[test.crossed_at - 1][0], p_value=test.p_value, share=checks.fast.value)


def _left_flag(
    checks: RaterChecks, judgments: Sequence[Judgment], decided: Sequence[tuple[int, bool]], config: ChecksConfig
) -> Flag | None:
    test = fair_coin([left for _, left in decided], bet=config.left_bet, alpha=config.left_alpha)
    if test.crossed_at is None or checks.left is None:
        return None
    where = "whatever stood there" if sides_were_drawn(judgments) else "but sides were not drawn: it may be the data's order"
    message = f"chose the left answer in {checks.left.value:.0%} of {len(decided)} decided judgments, {where}"
    return _flag(checks, "left", message, decided[test.crossed_at - 1][0], p_value=test.p_value, left_share=checks.left.value)


def _pattern_flag(
    checks: RaterChecks, judgments: Sequence[Judgment], decided: Sequence[tuple[int, bool]], config: ChecksConfig
) -> Flag | None:
    if not sides_were_drawn(judgments):
        return None  # the order of the data makes runs: neighbours are often about one prompt, or of one policy
    same = [a == b for (_, a), (_, b) in pairwise(decided)]
    test = fair_coin(same, bet=config.pattern_bet, alpha=config.pattern_alpha)
    if test.crossed_at is None:
        return None
    share = sum(same) / len(same)
    message = f"{share:.0%} of decided answers are on the side of the one before (longest run {checks.longest_run})"
    return _flag(checks, "pattern", message, decided[test.crossed_at][0], p_value=test.p_value, same_side_share=share)


def _ties_flag(checks: RaterChecks, judgments: Sequence[Judgment], config: ChecksConfig) -> Flag | None:
    bet = (1 + config.most_ties) / 2
    test = rate_at_most([j.choice == "tie" for j in judgments], config.most_ties, bet=bet, alpha=config.ties_alpha)
    if test.crossed_at is None:
        return None
    message = f"calls {checks.ties.value:.0%} of {len(judgments)} comparisons a tie"
    return _flag(checks, "ties", message, test.crossed_at - 1, p_value=test.p_value, tie_share=checks.ties.value)


def _flag(checks: RaterChecks, kind: Kind, message: str, number: int, **evidence: float) -> Flag:
    return Flag(rater_id=checks.rater_id, kind=kind, message=message, at_judgment=number + 1, evidence=evidence)


def _rate(outcomes: Iterable[bool]) -> Estimate | None:
    found = list(outcomes)
    return wilson(sum(found), len(found)) if found else None


def _on_screen(judgment: Judgment) -> str:
    return "tie" if judgment.choice == "tie" else "left" if judgment.choice == judgment.left else "right"


def _entropy_bits(answers: Iterable[str]) -> float:
    counts = np.array(list(Counter(answers).values()), dtype=np.float64)
    shares = counts / counts.sum()
    return float(-(shares * np.log2(shares)).sum()) + 0.0
