"""Disagreement among reliable raters is ambiguity: it becomes a question about the guideline, with the cases attached.

A comparison is disputed where raters who are reliable chose opposite sides. Disputed comparisons are gathered by the clause
that the judgments leaned on, else by the kind of their prompt. A lead's adjudication of a question answers its cases, which
become gold, and may propose a clause.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from truing.errors import TruingError
from truing.raters.clauses import agreement, by_comparison, is_split
from truing.records import Choice, Clause, Comparison, Estimate, Judgment, Record, content_hash

NO_CLAUSE = "kind:"


class Disagreement(Record):
    """How reliable raters agree under one clause ("length"), or on one kind of prompt where no clause was named ("kind:plain").

    `agreement` is between pairs of them on the same comparison; None where no two met.
    """

    about: str
    comparisons: int
    disputed: tuple[str, ...]
    agreement: Estimate | None


class Case(Record):
    """A disputed comparison: reliable raters' answers, counted."""

    comparison_id: str
    first: int
    second: int
    tie: int


class GuidelineQuestion(Record):
    """What the guideline leaves open, as its raters show it. `clause_id` is empty where no clause was named."""

    question_id: str
    about: str
    clause_id: str
    text: str
    cases: tuple[Case, ...]
    agreement: Estimate | None


class Adjudication(Record):
    """A lead's answer to a question: the right choice for its cases, and a clause to propose (empty title: none)."""

    question_id: str
    answers: dict[str, Choice]
    adjudicator: str
    clause_id: str = ""
    title: str = ""
    body: str = ""


def disagreements(
    comparisons: Sequence[Comparison], judgments: Iterable[Judgment], reliable: Collection[str]
) -> tuple[Disagreement, ...]:
    """Statistics for every clause and every kind of prompt without one, most disputed first. Repeats do not count.

    A comparison belongs to the clause that most of its reliable judgments lean on.
    """
    by_id = _votes(judgments, reliable)
    kinds = {c.comparison_id: c.prompt.kind for c in comparisons}
    groups: dict[str, list[str]] = defaultdict(list)
    for comparison_id, votes in by_id.items():
        groups[_clause(votes) or NO_CLAUSE + kinds[comparison_id]].append(comparison_id)
    found = (_disagreement(about, ids, by_id) for about, ids in groups.items())
    return tuple(sorted(found, key=lambda d: (-len(d.disputed), -d.comparisons, d.about)))


def guideline_questions(
    comparisons: Sequence[Comparison],
    judgments: Iterable[Judgment],
    reliable: Collection[str],
    *,
    least_disputed: int = 3,
    most_cases: int = 12,
) -> tuple[GuidelineQuestion, ...]:
    """A question for every clause or kind with at least `least_disputed` disputed comparisons, the most even cases first."""
    given = list(judgments)
    by_id = _votes(given, reliable)
    return tuple(
        _question(found, by_id, most_cases)
        for found in disagreements(comparisons, given, reliable)
        if len(found.disputed) >= least_disputed
    )


def gold_from(comparisons: Iterable[Comparison], adjudication: Adjudication) -> list[Comparison]:
    """The adjudicated comparisons with their gold answer. Raises TruingError where one is not among `comparisons`."""
    known = {c.comparison_id: c for c in comparisons}
    missing = adjudication.answers.keys() - known.keys()
    if missing:
        raise TruingError(f"adjudication of {adjudication.question_id}: no comparison {min(missing)!r} in this set")
    return [known[name].model_copy(update={"gold": choice}) for name, choice in adjudication.answers.items()]


def proposal_from(question: GuidelineQuestion, adjudication: Adjudication) -> Clause | None:
    """The clause that an adjudication proposes, or None; it changes nothing until it is published.

    Raises TruingError where the adjudication answers another question, or the clause has no text.
    """
    if adjudication.question_id != question.question_id:
        raise TruingError(f"adjudication of {adjudication.question_id} does not answer question {question.question_id}")
    if not adjudication.title:
        return None
    clause_id = adjudication.clause_id or question.clause_id
    if not clause_id or not adjudication.body.strip():
        raise TruingError(f"adjudication of {question.question_id}: a proposed clause needs clause_id, title and body")
    return Clause(clause_id=clause_id, title=adjudication.title, body=adjudication.body)


def _votes(judgments: Iterable[Judgment], reliable: Collection[str]) -> dict[str, list[Judgment]]:
    return by_comparison(j for j in judgments if j.rater_id in reliable and not j.repeat)


def _clause(votes: Sequence[Judgment]) -> str:
    named = Counter(v.clause for v in votes if v.clause)
    return named.most_common(1)[0][0] if named else ""


def _disagreement(about: str, ids: Sequence[str], votes: Mapping[str, Sequence[Judgment]]) -> Disagreement:
    disputed = tuple(name for name in ids if is_split(votes[name]))
    return Disagreement(about=about, comparisons=len(ids), disputed=disputed, agreement=agreement(votes[name] for name in ids))


def _question(found: Disagreement, votes: Mapping[str, Sequence[Judgment]], most: int) -> GuidelineQuestion:
    cases = sorted((_case(name, votes[name]) for name in found.disputed), key=_evenness)[:most]
    clause_id = "" if found.about.startswith(NO_CLAUSE) else found.about
    kind = found.about.removeprefix(NO_CLAUSE)
    subject = f"under clause '{clause_id}'" if clause_id else f"of '{kind}' prompts without naming a clause"
    return GuidelineQuestion(
        question_id=content_hash([found.about, sorted(found.disputed)])[:12],
        about=found.about,
        clause_id=clause_id,
        text=f"Reliable raters chose opposite answers on {len(found.disputed)} of {found.comparisons} comparisons "
        f"{subject}. Which answer is right in these, and what should the guideline say?",
        cases=tuple(cases),
        agreement=found.agreement,
    )


def _case(comparison_id: str, votes: Sequence[Judgment]) -> Case:
    counts = Counter(v.choice for v in votes)
    return Case(comparison_id=comparison_id, first=counts["first"], second=counts["second"], tie=counts["tie"])


def _evenness(case: Case) -> tuple[float, int, str]:
    return (abs(case.first - case.second) / (case.first + case.second), -(case.first + case.second), case.comparison_id)
