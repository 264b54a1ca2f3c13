import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from truing.errors import TruingError
from truing.records import Comparison, Prompt
from truing.selection.config import SelectionConfig
from truing.selection.draw import draw, inclusion_probabilities, systematic_sample
from truing.selection.pool import Pool

SCORES = st.lists(st.floats(0, 1e6), min_size=1, max_size=60)


def pool(margins: list[float]) -> Pool:
    """One comparison a margin, each of a prompt of its own."""
    rows = [
        Comparison(comparison_id=f"c{n}", prompt=Prompt.from_text(f"q{n}"), first="a", second="b") for n in range(len(margins))
    ]
    return Pool(rows, np.array([margins]))


def test_probabilities_by_hand() -> None:
    # u = 0.5: weights 0.5 * (0, 1, 3) / 4 + 0.5 / 3, times the budget of 1
    assert inclusion_probabilities([0, 1, 3], 1, 0.5) == pytest.approx([1 / 6, 1 / 8 + 1 / 6, 3 / 8 + 1 / 6])
    # Budget 2: the heaviest would have 1.083, so it is certain, and the other two share what is left by weight 4 : 7
    assert inclusion_probabilities([0, 1, 3], 2, 0.5) == pytest.approx([4 / 11, 7 / 11, 1])


@given(SCORES, st.floats(0.01, 1), st.data())
def test_probabilities_sum_to_the_budget_and_none_is_zero(scores: list[float], share: float, data: st.DataObject) -> None:
    budget = data.draw(st.integers(1, len(scores)))
    pi = inclusion_probabilities(scores, budget, share)
    assert pi.sum() == pytest.approx(budget)
    assert (pi <= 1).all()
    assert (pi >= min(1, share * budget / len(scores)) * (1 - 1e-9)).all()
    assert (np.diff(pi[np.argsort(scores, kind="stable")]) >= -1e-9).all()


@given(SCORES, st.data())
def test_a_uniform_share_of_one_and_equal_scores_are_uniform(scores: list[float], data: st.DataObject) -> None:
    budget = data.draw(st.integers(1, len(scores)))
    assert inclusion_probabilities(scores, budget, 1.0) == pytest.approx(budget / len(scores))
    assert inclusion_probabilities([scores[0]] * len(scores), budget, 0.15) == pytest.approx(budget / len(scores))


@settings(max_examples=40)
@given(SCORES, st.integers(0, 2**32), st.data())
def test_a_sample_is_exactly_as_large_as_the_budget(scores: list[float], seed: int, data: st.DataObject) -> None:
    budget = data.draw(st.integers(1, len(scores)))
    chosen = systematic_sample(inclusion_probabilities(scores, budget, 0.15), np.random.default_rng(seed))
    assert len(set(chosen.tolist())) == len(chosen) == budget


def test_comparisons_are_chosen_as_often_as_stated() -> None:
    margins = [0.0, 0.2, 0.4, 1.0, 2.0, 5.0, 9.0, 0.1]
    drawn = [draw(pool(margins), SelectionConfig(budget=3, strategy="large_gap", seed=seed)) for seed in range(4000)]
    stated = drawn[0].propensity_N
    chosen = np.array([[f"c{n}" in {c.comparison_id for c in one.batch} for n in range(8)] for one in drawn])
    plain = np.array(
        [[f"c{n}" in {c.comparison_id for c in one.batch if c.strategy == "uniform"} for n in range(8)] for one in drawn]
    )
    error = np.sqrt(stated * (1 - stated) / len(drawn))
    assert (np.abs(chosen.mean(0) - stated) < 4 * error + 1e-12).all()
    # Those marked uniform are a uniform sample: the least probability, for everyone
    assert stated.max() / stated.min() > 5
    least = float(stated.min())
    assert np.abs(plain.mean(0) - least).max() < 4 * np.sqrt(least * (1 - least) / len(drawn))


def test_a_batch_carries_how_it_was_chosen_and_is_drawn_again_from_its_seed() -> None:
    config = SelectionConfig(budget=3, strategy="large_gap", seed=1)
    margins = [0.0, 0.2, 0.4, 1.0, 2.0]
    first, again, other = (draw(pool(margins), config.with_changes(seed=seed)) for seed in (1, 1, 2))
    assert first.batch == again.batch
    assert first.batch != other.batch
    stated = {f"c{n}": pi for n, pi in enumerate(first.propensity_N)}
    assert all(c.propensity == stated[c.comparison_id] for c in first.batch)
    assert {c.strategy for c in first.batch} <= {"uniform", "large_gap"}
    everything = draw(pool(margins), SelectionConfig(budget=5))
    assert [(c.strategy, c.propensity) for c in everything.batch] == [("uniform", 1.0)] * 5


def test_what_cannot_be_drawn_is_said() -> None:
    with pytest.raises(TruingError, match="the pool holds 2"):
        inclusion_probabilities([1, 1], 3, 0.15)
    for bad in (-1.0, float("nan"), float("inf")):
        with pytest.raises(TruingError, match="negative or not a finite"):
            inclusion_probabilities([1, bad], 1, 0.15)
    with pytest.raises(ValueError, match="greater than 0"):
        SelectionConfig(budget=1, uniform_share=0)
