"""An item with its raters' answers, as comparisons with judgments: the way out of the database. Pure.

A pair is one comparison under the item's own id. A ranking of K responses is C(K,2) comparisons, `ID#0-1` and so on, that share
`group`, so that training can keep them in one batch. What else was answered (scores, a critique, a rewrite) goes along unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import combinations
from typing import NamedTuple

from truing.collect.answers import Answer, PairAnswer, RankingAnswer
from truing.collect.exchange.judged import Judged, Remark
from truing.records import Choice, Comparison, Judgment, Prompt, Side, canonical_json


class ItemRow(NamedTuple):
    """A prompt and its responses, in stored order."""

    external_id: str
    prompt: Prompt
    responses: Sequence[str]
    policies: Sequence[str]
    gold: Sequence[Answer] | None
    source: str
    group: str
    strategy: str
    propensity: float | None


class AnswerRow(NamedTuple):
    """What one rater answered, in stored order. `screen_order[i]` = index of the response shown at place i; empty = unknown."""

    judgment_id: int
    rater_id: str
    simulated: bool
    answers: Sequence[Answer]
    screen_order: Sequence[int]
    flags: Sequence[str]
    clause: str
    guideline_hash: str
    active_s: float | None
    judged_at: float
    is_repeat: bool
    is_surplus: bool


class _Compared(NamedTuple):
    """One answer on two of the responses."""

    choice: Choice
    margin: int | None
    both_bad: bool


def as_judged(item: ItemRow, rows: Iterable[AnswerRow]) -> list[Judged]:
    """The item's comparisons, each with every answer on it; none where nobody compared anything."""
    rows = [row for row in rows if compares(row.answers)]
    if not rows:
        return []
    pairs = list(combinations(range(len(item.responses)), 2))
    remarks = tuple(remark for row in rows for remark in _remarks(item, row))
    judged = []
    for first, second in pairs:
        comparison = _comparison(item, first, second, is_only=len(pairs) == 1)
        judgments = tuple(_judgment(comparison.comparison_id, row, first, second, is_only=len(pairs) == 1) for row in rows)
        judged.append(Judged(comparison, judgments, remarks if (first, second) == pairs[0] else ()))
    return judged


def compares(answers: Sequence[Answer]) -> bool:
    """Whether the answers compare responses, by pair or by ranking."""
    return any(isinstance(answer, PairAnswer | RankingAnswer) for answer in answers)


def _comparison(item: ItemRow, first: int, second: int, *, is_only: bool) -> Comparison:
    return Comparison(
        comparison_id=item.external_id if is_only else f"{item.external_id}#{first}-{second}",
        prompt=item.prompt,
        first=item.responses[first],
        second=item.responses[second],
        policies=(item.policies[first], item.policies[second]),
        source=item.source,
        group=item.group or ("" if is_only else item.external_id),
        strategy=item.strategy,
        propensity=item.propensity,
        gold=_compared(item.gold, first, second).choice if item.gold and compares(item.gold) else None,
    )


def _judgment(comparison_id: str, row: AnswerRow, first: int, second: int, *, is_only: bool) -> Judgment:
    found = _compared(row.answers, first, second)
    return Judgment(
        judgment_id=str(row.judgment_id) if is_only else f"{row.judgment_id}#{first}-{second}",
        comparison_id=comparison_id,
        rater_id=row.rater_id,
        guideline_hash=row.guideline_hash,
        left=_left(row.screen_order, first, second),
        choice=found.choice,
        confidence=0.5 if found.choice == "tie" else 1.0,
        simulated=row.simulated,
        margin=found.margin,
        both_bad=found.both_bad,
        clause=row.clause,
        flags=tuple(row.flags),
        active_s=row.active_s,
        judged_at=datetime.fromtimestamp(row.judged_at, UTC).isoformat(timespec="milliseconds"),
        repeat=row.is_repeat,
        surplus=row.is_surplus,
    )


def _compared(answers: Sequence[Answer], first: int, second: int) -> _Compared:
    for answer in answers:
        if isinstance(answer, PairAnswer):
            return _Compared(answer.choice, answer.margin, answer.both_bad)
        if isinstance(answer, RankingAnswer):
            gap = answer.ranks[first] - answer.ranks[second]
            return _Compared("tie" if gap == 0 else "first" if gap < 0 else "second", None, both_bad=False)
    raise AssertionError("asked of answers that compare nothing")


def _left(screen_order: Sequence[int], first: int, second: int) -> Side | None:
    """Of two responses the one whose place came earlier."""
    if not screen_order:
        return None
    return "first" if screen_order.index(first) < screen_order.index(second) else "second"


def _remarks(item: ItemRow, row: AnswerRow) -> Iterable[Remark]:
    for answer in row.answers:
        if not isinstance(answer, PairAnswer | RankingAnswer):
            content = canonical_json(answer.model_dump(mode="json", exclude={"type"}))
            yield Remark(
                judgment_id=str(row.judgment_id),
                item_id=item.external_id,
                rater_id=row.rater_id,
                type=answer.type,
                content=content,
            )
