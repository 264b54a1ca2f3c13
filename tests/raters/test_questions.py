import pytest
from tests.raters.test_labels import comparison, vote

from truing.errors import TruingError
from truing.raters.questions import Adjudication, disagreements, gold_from, guideline_questions, proposal_from
from truing.records import Clause

ROWS = [comparison(name) for name in "abcd"]
VOTES = [
    vote(name, choice, rater, clause="length" if name in "abc" else "")
    for name in "abcd"
    for rater, choice in (("x", "first"), ("y", "second" if name != "c" else "first"), ("bad", "second"))
]


def test_disagreement_of_reliable_raters_is_counted_by_clause() -> None:
    length, plain = disagreements(ROWS, VOTES, {"x", "y"})
    assert (length.about, length.comparisons, length.disputed) == ("length", 3, ("a", "b"))
    assert length.agreement is not None
    assert length.agreement.value == pytest.approx(1 / 3)
    assert (plain.about, plain.disputed) == ("kind:plain", ("d",))
    assert all(not d.disputed for d in disagreements(ROWS, VOTES, {"x"}))


def test_a_question_is_answered_by_gold_and_a_proposed_clause() -> None:
    [question] = guideline_questions(ROWS, VOTES, {"x", "y"}, least_disputed=2)
    assert (question.clause_id, [c.comparison_id for c in question.cases]) == ("length", ["a", "b"])
    answer = Adjudication(
        question_id=question.question_id, answers={"a": "first"}, adjudicator="lead", title="Shorter wins", body="Choose it."
    )
    [row] = gold_from(ROWS, answer)
    assert (row.comparison_id, row.gold) == ("a", "first")
    assert proposal_from(question, answer) == Clause(clause_id="length", title="Shorter wins", body="Choose it.")
    assert proposal_from(question, answer.model_copy(update={"title": ""})) is None
    with pytest.raises(TruingError, match="does not answer"):
        proposal_from(question, answer.model_copy(update={"question_id": "other"}))
    with pytest.raises(TruingError, match="no comparison 'z'"):
        gold_from(ROWS, answer.model_copy(update={"answers": {"z": "tie"}}))
