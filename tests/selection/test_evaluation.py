import numpy as np
import pytest

from truing.errors import TruingError
from truing.records import Comparison, Prompt
from truing.selection.draw import inclusion_probabilities, systematic_sample
from truing.selection.evaluation import effective_sample_size, hajek, horvitz_thompson, pool_rate

N, BUDGET = 600, 120


def test_by_hand() -> None:
    # weights 2 and 4: HT = (1 * 2 + 0 * 4) / 8, Hajek = 2 / 6
    assert horvitz_thompson([1, 0], [0.5, 0.25], ["a", "b"], pool_size=8).value == pytest.approx(0.25)
    assert hajek([1, 0], [0.5, 0.25], ["a", "b"]).value == pytest.approx(1 / 3)
    assert effective_sample_size([0.5, 0.25]) == pytest.approx(36 / 20)
    assert effective_sample_size([0.3] * 7) == pytest.approx(7)


def planted(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two comparisons a prompt; hard prompts score high and are mostly got wrong."""
    hard = np.repeat(rng.random(N // 2), 2)
    right = (rng.random(N) > hard).astype(float)
    return right, hard + 0.05 * rng.random(N), np.repeat(np.arange(N // 2), 2)


def test_unbiased_where_the_plain_mean_is_not_and_intervals_cover() -> None:
    rng = np.random.default_rng(0)
    right, score, prompt = planted(rng)
    pi = inclusion_probabilities(score, BUDGET, 0.15)
    plain, ht, self_normalised = [], [], []
    for _ in range(800):
        chosen = systematic_sample(pi, rng)
        clusters = prompt[chosen].tolist()
        plain.append(right[chosen].mean())
        ht.append(horvitz_thompson(right[chosen], pi[chosen], clusters, N))
        self_normalised.append(hajek(right[chosen], pi[chosen], clusters))
    truth = right.mean()
    for estimates in (ht, self_normalised):
        values = np.array([e.value for e in estimates])
        assert abs(values.mean() - truth) < 4 * values.std() / np.sqrt(len(values)) + 0.002
        coverage = np.mean([e.low <= truth <= e.high for e in estimates])
        assert 0.92 <= coverage <= 0.99
    assert abs(np.mean(plain) - truth) > 0.1


def test_equal_probabilities_give_the_plain_mean() -> None:
    values, clusters = [1, 0, 1, 1], ["a", "a", "b", "c"]
    assert hajek(values, [0.2] * 4, clusters).value == pytest.approx(0.75)
    assert horvitz_thompson(values, [0.2] * 4, clusters, pool_size=20) == hajek(values, [0.2] * 4, clusters)


def test_a_rate_of_comparisons_is_clustered_by_prompt_and_stays_a_rate() -> None:
    rows = [
        Comparison(comparison_id=f"{p}{i}", prompt=Prompt.from_text(p), first="a", second="b", propensity=0.5)
        for p in "abc"
        for i in range(4)
    ]
    rate = pool_rate([1] * 10 + [0, 1], rows)
    assert rate.n == 3
    assert rate.high == 1.0
    with pytest.raises(TruingError, match="1 comparisons have no selection probability"):
        pool_rate([1, 0], [rows[0], rows[1].model_copy(update={"propensity": None})])


def test_an_impossible_probability_is_refused() -> None:
    for bad in (0.0, -0.1, 1.1, float("nan")):
        with pytest.raises(TruingError, match="outside"):
            hajek([1, 0], [0.5, bad], ["a", "b"])
