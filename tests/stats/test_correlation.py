import numpy as np
import pytest

from truing.stats.correlation import partial_correlation


def test_without_controls_it_is_pearson() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=60)
    y = x + rng.normal(size=60)
    estimate = partial_correlation(x, y)
    assert estimate is not None
    assert estimate.value == pytest.approx(np.corrcoef(x, y)[0, 1])


def test_a_control_that_explains_both_takes_the_correlation_away() -> None:
    rng = np.random.default_rng(1)
    cause = rng.normal(size=400)
    x, y = cause + 0.3 * rng.normal(size=400), cause + 0.3 * rng.normal(size=400)
    raw, held = partial_correlation(x, y), partial_correlation(x, y, [cause])
    assert raw is not None
    assert held is not None
    assert raw.low > 0.8
    assert held.low < 0 < held.high


def test_differences_between_groups_do_not_count() -> None:
    rng = np.random.default_rng(2)
    groups = np.repeat(np.arange(50), 4)
    level = rng.normal(size=50)[groups] * 5
    estimate = partial_correlation(level + rng.normal(size=200), level + rng.normal(size=200), groups=list(groups))
    assert estimate is not None
    assert estimate.low < 0 < estimate.high
    assert estimate.n == 50


@pytest.mark.parametrize("strength", [0.0, 0.8])
def test_the_interval_covers_with_uneven_noise_within_groups(strength: float) -> None:
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(60), 3)
    truth = strength / np.hypot(strength, 1.0)
    inside = 0
    for _ in range(500):
        scale = rng.choice([0.5, 1.5], 60)[groups]
        x = scale * rng.normal(size=180)
        y = strength * x + scale * rng.normal(size=180) + rng.normal(size=60)[groups]
        estimate = partial_correlation(x, y, groups=list(groups))
        assert estimate is not None
        inside += estimate.low <= truth <= estimate.high
    assert inside / 500 >= 0.91


def test_nothing_to_estimate_is_none() -> None:
    assert partial_correlation([], []) is None
    assert partial_correlation([1.0] * 20, list(range(20))) is None
    assert partial_correlation(list(range(20)), list(range(20)), groups=list(range(20))) is None
    assert partial_correlation(range(20), range(20), [range(20)]) is None
