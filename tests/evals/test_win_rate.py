import numpy as np
import pytest

from truing.evals.win_rate import length_controlled, win_rate


def judged(rng: np.random.Generator, n: int, theta: float, phi: float, longer: float) -> tuple[np.ndarray, np.ndarray]:
    gaps = rng.normal(longer, 20, n)
    logits = theta + phi * np.tanh(gaps / np.sqrt((gaps**2).mean()))
    return (rng.random(n) < 1 / (1 + np.exp(-logits))).astype(float), gaps


def test_a_judge_that_likes_length_is_seen_through() -> None:
    wins, gaps = judged(np.random.default_rng(0), 2000, theta=0.0, phi=2.0, longer=20)
    rates = win_rate(wins, gaps, range(2000))
    assert rates.raw.low > 0.6
    assert rates.length_controlled.low < 0.5 < rates.length_controlled.high


def test_the_interval_covers() -> None:
    rng = np.random.default_rng(1)
    truth = 1 / (1 + np.exp(-0.4))
    inside = 0
    for _ in range(300):
        wins, gaps = judged(rng, 150, theta=0.4, phi=1.0, longer=10)
        estimate = length_controlled(wins, gaps, range(150))
        inside += estimate.low <= truth <= estimate.high
    assert inside / 300 >= 0.92


def test_equal_lengths_leave_the_raw_rate() -> None:
    wins = np.array([1.0] * 60 + [0.0] * 30 + [0.5] * 10)
    estimate = length_controlled(wins, np.zeros(100), range(100))
    assert estimate.value == pytest.approx(0.65, abs=0.01)


def test_one_sided_wins_stay_finite() -> None:
    estimate = length_controlled(np.ones(20), np.arange(20.0), range(20))
    assert 0.8 < estimate.value < 1
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
