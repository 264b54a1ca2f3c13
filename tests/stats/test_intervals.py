import numpy as np
import pytest
from scipy import stats as distributions

from truing.errors import TruingError
from truing.records import Estimate
from truing.stats.intervals import (
    apart,
    bootstrap_paired,
    difference_interval,
    mean_interval,
    wilson,
    wilson_clustered,
)

TRIALS, PROMPTS, SAMPLES = 600, 40, 5
CLUSTERS = [prompt for prompt in range(PROMPTS) for _ in range(SAMPLES)]


def clustered_outcomes(rate: float, rng: np.random.Generator) -> np.ndarray:
    """Forty prompts, five samples each; a prompt's own rate is Beta(rate, 1 - rate)/0.5: intraclass correlation 2/3."""
    own = rng.beta(rate * 0.5, (1 - rate) * 0.5, PROMPTS)
    return (rng.random((PROMPTS, SAMPLES)) < own[:, None]).ravel()


def test_wilson_matches_scipy() -> None:
    mine = wilson(7, 20)
    theirs = distributions.binomtest(7, 20).proportion_ci(method="wilson")
    assert (mine.low, mine.high) == pytest.approx((theirs.low, theirs.high))
    assert mine.n == 20


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5])
def test_the_clustered_interval_covers_where_the_naive_one_does_not(rate: float) -> None:
    rng = np.random.default_rng(int(rate * 100))
    naive = clustered = 0
    for _ in range(TRIALS):
        outcomes = clustered_outcomes(rate, rng)
        plain, honest = wilson(outcomes.sum(), len(outcomes)), wilson_clustered(outcomes, CLUSTERS)
        naive += plain.low <= rate <= plain.high
        clustered += honest.low <= rate <= honest.high
    assert clustered / TRIALS >= 0.93
    assert naive / TRIALS <= 0.75


@pytest.mark.parametrize("hit", [0.0, 1.0])
def test_a_rate_of_nothing_or_all_counts_each_prompt_once(hit: float) -> None:
    mine, plain = wilson_clustered(np.full(200, hit), CLUSTERS), wilson(hit * PROMPTS, PROMPTS)
    assert mine == plain
    assert mine.n == PROMPTS


def test_one_sample_a_prompt_is_nearly_plain_wilson() -> None:
    outcomes = np.arange(200) < 60
    mine, plain = wilson_clustered(outcomes, range(200)), wilson(60, 200)
    assert mine.low == pytest.approx(plain.low, abs=2e-3)
    assert mine.high == pytest.approx(plain.high, abs=2e-3)


def test_the_mean_interval_covers_on_clustered_values() -> None:
    rng = np.random.default_rng(0)
    naive = clustered = 0
    for _ in range(TRIALS):
        values = (rng.normal(size=(PROMPTS, 1)) + 0.5 * rng.normal(size=(PROMPTS, SAMPLES))).ravel()
        plain, honest = mean_interval(values), mean_interval(values, CLUSTERS)
        naive += plain.low <= 0 <= plain.high
        clustered += honest.low <= 0 <= honest.high
    assert 0.93 <= clustered / TRIALS <= 0.98
    assert naive / TRIALS <= 0.75


def test_mean_interval_by_hand() -> None:
    estimate = mean_interval([1.0, 2.0, 3.0])
    assert estimate.value == 2
    assert estimate.high - 2 == pytest.approx(4.302653 / 3**0.5, rel=1e-6)
    with pytest.raises(TruingError, match="two independent units"):
        mean_interval([1.0, 2.0], ["a", "a"])


def test_the_difference_of_two_rates_covers() -> None:
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(TRIALS):
        first, second = rng.random(80) < 0.4, rng.random(80) < 0.2
        estimate = difference_interval(wilson(first.sum(), 80), wilson(second.sum(), 80))
        inside += estimate.low <= 0.2 <= estimate.high
    assert 0.93 <= inside / TRIALS <= 0.98


def test_paired_bootstrap_uses_the_pairing() -> None:
    rng = np.random.default_rng(2)
    shared = rng.normal(size=100)
    first, second = shared + 0.3 + 0.1 * rng.normal(size=100), shared + 0.1 * rng.normal(size=100)
    estimate = bootstrap_paired(first, second)
    assert estimate.low > 0.25
    assert estimate.high < 0.35
    assert bootstrap_paired(first, second) == estimate


def test_apart() -> None:
    low, high = Estimate(value=0, low=-1, high=1, n=2), Estimate(value=3, low=2, high=4, n=2)
    assert apart(low, high)
    assert apart(high, low)
    assert not apart(low, Estimate(value=1, low=0.5, high=2, n=2))


def test_nothing_measured_is_an_error() -> None:
    with pytest.raises(TruingError, match="nothing was measured"):
        wilson(0, 0)
    with pytest.raises(TruingError, match="no samples"):
        wilson_clustered([], [])
