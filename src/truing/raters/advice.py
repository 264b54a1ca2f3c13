"""What happens next: flags become advice to a lead, as data. Nobody is rejected, and pay is no part of it.

    re_certify    the rater reads the guideline again and passes the calibration before going on
    down_weight   their judgments from the k-th on count less when labels are made (`down_weights`)
    re_queue      these comparisons want another rater's answer

A change in time or ties alone, and a change for the better, call for nothing: they are shown as flags.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from pydantic import Field

from truing.raters.checks import Flag, Kind
from truing.records import Judgment, Record

Action = Literal["re_certify", "down_weight", "re_queue"]
LEAST_WEIGHT = 0.05
SAME_PERSON_WEIGHT = 0.5
NEARLY_AS_GOOD = 0.8
"""A weight above this after a change is left at 1."""


class Advice(Record):
    """One thing to do about one rater. `from_judgment` counts their first answers from 1."""

    rater_id: str
    action: Action
    reason: str
    from_judgment: int | None = None
    weight: float | None = None
    comparison_ids: tuple[str, ...] = ()
    evidence: dict[str, float] = Field(default_factory=dict)


class RaterEvidence(NamedTuple):
    """What advice about one rater rests on."""

    judgments: Sequence[Judgment]
    """First answers, in order."""
    fast: tuple[str, ...]
    """Comparisons answered faster than they can be read."""
    reliability: Mapping[int, tuple[float, float]]
    """alpha before and after the judgment (from 1) at which something changed."""


def advise(flags: Iterable[Flag], evidence: Mapping[str, RaterEvidence]) -> list[Advice]:
    """Advice for every flag that calls for something, in the flags' order."""
    return [advice for flag in flags for advice in RULES.get(flag.kind, _nothing)(flag, evidence[flag.rater_id])]


def down_weights(advice: Iterable[Advice]) -> dict[str, tuple[int, float]]:
    """For `soft_labels`: rater -> (first judgment that counts less, from 0; its weight). Of several, the earliest and the
    least.
    """
    found: dict[str, tuple[int, float]] = {}
    for one in advice:
        if one.action == "down_weight" and one.from_judgment is not None and one.weight is not None:
            start, weight = found.get(one.rater_id, (one.from_judgment - 1, one.weight))
            found[one.rater_id] = (min(start, one.from_judgment - 1), min(weight, one.weight))
    return found


def _re_certify(flag: Flag, _: RaterEvidence) -> list[Advice]:
    return [Advice(rater_id=flag.rater_id, action="re_certify", reason=flag.message, evidence=flag.evidence)]


def _not_reading(flag: Flag, rater: RaterEvidence) -> list[Advice]:
    """Answers follow a pattern whatever is asked: they say next to nothing, from the first on."""
    low = Advice(
        rater_id=flag.rater_id,
        action="down_weight",
        reason=flag.message,
        from_judgment=1,
        weight=LEAST_WEIGHT,
        evidence=flag.evidence,
    )
    return [*_re_certify(flag, rater), low, _again(flag, (j.comparison_id for j in rater.judgments))]


def _too_fast(flag: Flag, rater: RaterEvidence) -> list[Advice]:
    return [_again(flag, rater.fast)]


def _same_person(flag: Flag, _: RaterEvidence) -> list[Advice]:
    """Two accounts that answer as one count as one."""
    return [
        Advice(
            rater_id=flag.rater_id,
            action="down_weight",
            reason=flag.message,
            from_judgment=1,
            weight=SAME_PERSON_WEIGHT,
            evidence=flag.evidence,
        )
    ]


def _got_worse(flag: Flag, rater: RaterEvidence) -> list[Advice]:
    """From the change on, a judgment weighs by how much information is left in it: (alpha after / alpha before)^2.

    Where nearly all of it is, only a fall in gold calls for something.
    """
    if flag.at_judgment is None or flag.evidence["after"] >= flag.evidence["before"]:
        return []
    before, after = rater.reliability[flag.at_judgment]
    weight = max(LEAST_WEIGHT, (max(after, 0.0) / before) ** 2) if before > 0 else 1.0
    if weight > NEARLY_AS_GOOD:
        return _re_certify(flag, rater) if flag.kind == "drift_gold" else []
    low = Advice(
        rater_id=flag.rater_id,
        action="down_weight",
        reason=flag.message,
        from_judgment=flag.at_judgment,
        weight=round(weight, 3),
        evidence={**flag.evidence, "alpha_before": before, "alpha_after": after},
    )
    return [*_re_certify(flag, rater), low, _again(flag, (j.comparison_id for j in rater.judgments[flag.at_judgment - 1 :]))]


def _again(flag: Flag, comparison_ids: Iterable[str]) -> Advice:
    return Advice(
        rater_id=flag.rater_id,
        action="re_queue",
        reason=flag.message,
        comparison_ids=tuple(dict.fromkeys(comparison_ids)),
        evidence=flag.evidence,
    )


def _nothing(_: Flag, __: RaterEvidence) -> list[Advice]:
    return []


RULES: Mapping[Kind, Callable[[Flag, RaterEvidence], list[Advice]]] = {
    "gold": _re_certify,
    "repeats": _re_certify,
    "left": _re_certify,
    "pattern": _not_reading,
    "ties": _re_certify,
    "speed": _too_fast,
    "duplicate": _same_person,
    "drift_gold": _got_worse,
    "drift_reliability": _got_worse,
}
"""What each kind of flag calls for; kinds not here call for nothing."""
