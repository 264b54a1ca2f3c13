"""What an answer says, in the three forms that numbers about raters need: a verdict, the side that won, right or wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from typing import Any

from truing.collect.answers import Answer, Answers, PairAnswer, RankingAnswer, ScalesAnswer


def parse(answers: Any) -> tuple[Answer, ...]:
    """Stored answers (a JSON column) as records."""
    return Answers.validate_python(answers)


def verdict(answers: Sequence[Answer]) -> str:
    """A short form that equal verdicts share: "first", "tie", the order of a ranking, the order by scores. Empty = words only."""
    for answer in answers:
        match answer:
            case PairAnswer():
                return str(answer.choice)
            case RankingAnswer():
                return _order([float(-rank) for rank in answer.ranks])
            case ScalesAnswer():
                return _order([float(sum(scores.values())) for scores in answer.scores])
            case _:
                continue
    return ""


def left_won(answers: Sequence[Answer], screen_order: Sequence[int]) -> bool | None:
    """Whether the response shown first (at left) is the best one; None where nothing is, or where there are more than two."""
    if len(screen_order) != 2:
        return None
    best = {"first": 0, "second": 1, "1>2": 0, "2>1": 1}.get(verdict(answers))
    return None if best is None else screen_order[0] == best


def agrees(answers: Sequence[Answer], gold: Sequence[Answer]) -> bool | None:
    """Whether answers are right by a known answer; None where the two have no part that can be compared.

    A pair: the same choice. A ranking: every pair that gold orders is ordered so. Scales: every score within one step.
    """
    by_type = {answer.type: answer for answer in answers}
    marks = [mark for known in gold if (mark := _mark(by_type.get(known.type), known)) is not None]
    return all(marks) if marks else None


def _mark(given: Answer | None, gold: Answer) -> bool | None:
    match given, gold:
        case PairAnswer(), PairAnswer():
            return given.choice == gold.choice
        case RankingAnswer(), RankingAnswer():
            return _keeps_order(given.ranks, gold.ranks)
        case ScalesAnswer(), ScalesAnswer():
            return all(_close(a, b) for a, b in zip(given.scores, gold.scores, strict=True))
    return None


def _keeps_order(given: Sequence[int], gold: Sequence[int]) -> bool:
    pairs = combinations(range(len(gold)), 2)
    return all((given[a] - given[b]) * (gold[a] - gold[b]) > 0 for a, b in pairs if gold[a] != gold[b])


def _close(given: Mapping[str, int], gold: Mapping[str, int]) -> bool:
    return all(abs(given.get(name, score) - score) <= 1 for name, score in gold.items())


def _order(worth: Sequence[float]) -> str:
    """Responses (from 1) by falling worth: "2>1=3"."""
    order = sorted(range(len(worth)), key=lambda i: -worth[i])
    signs = ["=" if worth[a] == worth[b] else ">" for a, b in pairwise(order)]
    if set(signs) == {"="}:
        return "tie"
    return str(order[0] + 1) + "".join(sign + str(i + 1) for sign, i in zip(signs, order[1:], strict=True))
