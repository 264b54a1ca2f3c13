import numpy as np
import pytest

from truing.errors import TruingError
from truing.raters.labels import soft_labels
from truing.records import Comparison, Judgment, Prompt


def comparison(name: str, first: str = "one", second: str = "two", gold: str | None = None) -> Comparison:
    return Comparison(comparison_id=name, prompt=Prompt.from_text(name), first=first, second=second, gold=gold)


def vote(name: str, choice: str, rater: str, left: str | None = "first", **more: object) -> Judgment:
    confidence = 0.5 if choice == "tie" else 0.9
    return Judgment(
        comparison_id=name,
        rater_id=rater,
        guideline_hash="g",
        left=left,
        choice=choice,
        confidence=confidence,
        simulated=False,
        **more,
    )


def workforce(n: int = 300, spammers: int = 4, seed: int = 0) -> tuple[list[Comparison], list[Judgment], list[str]]:
    """Three of ten raters judge each comparison: honest ones are right 9 times in 10, the first `spammers` toss a coin."""
    rng = np.random.default_rng(seed)
    rows, judgments, truth = [], [], []
    for index in range(n):
        rows.append(comparison(str(index)))
        truth.append("first" if rng.random() < 0.5 else "second")
        other = "second" if truth[-1] == "first" else "first"
        for rater in rng.choice(10, 3, replace=False):
            p_right = 0.5 if rater < spammers else 0.9
            choice = truth[-1] if rng.random() < p_right else other
            judgments.append(vote(str(index), choice, f"r{rater}", "first" if rng.random() < 0.5 else "second"))
    return rows, judgments, truth


def test_votes_become_a_soft_label_with_the_majority_chosen() -> None:
    row = comparison("q")
    votes = [vote("q", "second", "a"), vote("q", "second", "b"), vote("q", "first", "c"), vote("q", "tie", "d")]
    [made] = soft_labels([row], votes)
    assert (made.chosen, made.label, made.weight, made.judgments) == (row.second, 0.625, 1.0, 4)
    [tied] = soft_labels([row], [vote("q", "tie", "a")])
    assert (tied.chosen, tied.label) == (row.first, 0.5)
    [with_repeat] = soft_labels([row], [*votes, vote("q", "first", "a", repeat=True)])
    assert with_repeat == made


def test_judgments_that_cannot_be_used_are_named() -> None:
    with pytest.raises(TruingError, match="not in this set"):
        soft_labels([], [vote("q", "tie", "a")])
    with pytest.raises(TruingError, match="'a' judged comparison 'q' twice"):
        soft_labels([comparison("q")], [vote("q", "tie", "a"), vote("q", "first", "a")])
    with pytest.raises(TruingError, match="no judgments"):
        soft_labels([comparison("q")], [])


@pytest.mark.parametrize("how", ["dawid_skene", "rater_model"])
def test_raters_who_toss_coins_count_less_than_in_a_majority(how: str) -> None:
    rows, judgments, truth = workforce()
    right = {
        name: sum(p.chosen == (r.first if t == "first" else r.second) for p, r, t in zip(pairs, rows, truth, strict=True))
        for name, pairs in ((name, soft_labels(rows, judgments, name)) for name in ("majority", how))
    }
    assert right[how] >= right["majority"] + 6


def test_weights_follow_what_is_known() -> None:
    rows, judgments, _ = workforce()
    rows.append(comparison("coins"))
    rows.append(comparison("honest"))
    judgments += [vote("coins", "first", f"r{k}") for k in (0, 1)] + [vote("honest", "first", f"r{k}") for k in (8, 9)]
    pairs = {p.comparison_id: p for p in soft_labels(rows, judgments, "rater_model")}
    assert pairs["honest"].label > pairs["coins"].label + 0.1
    assert pairs["honest"].weight > 2 * pairs["coins"].weight
    assert np.mean([p.weight for p in pairs.values()]) == pytest.approx(1)


def test_a_rater_counts_less_from_the_judgment_named() -> None:
    rows = [comparison("a"), comparison("b")]
    votes = [vote(name, choice, rater) for name in "ab" for choice, rater in (("first", "x"), ("second", "y"))]
    by_name = {p.comparison_id: p for p in soft_labels(rows, votes, down_weighted={"y": (1, 0.25)})}
    assert by_name["a"].label == 0.5
    assert (by_name["b"].label, by_name["b"].chosen) == (pytest.approx(0.8), "one")


@pytest.mark.parametrize("how", ["majority", "dawid_skene", "rater_model"])
def test_swapping_the_two_answers_changes_nothing_but_their_order(how: str) -> None:
    rows, judgments, _ = workforce(n=60)
    other = {"first": "second", "second": "first", "tie": "tie"}
    swapped_rows = [r.model_copy(update={"first": r.second, "second": r.first}) for r in rows]
    swapped = [j.model_copy(update={"choice": other[j.choice], "left": other[j.left]}) for j in judgments]
    for before, after in zip(soft_labels(rows, judgments, how), soft_labels(swapped_rows, swapped, how), strict=True):
        if before.label > 0.5 + 1e-6:
            assert (after.chosen, after.label) == (before.chosen, pytest.approx(before.label, abs=1e-4))
