import numpy as np
import pytest

from truing.stats.calibration import expected_calibration_error, reliability


def test_by_hand() -> None:
    estimate = expected_calibration_error([0.95, 0.95, 0.55, 0.55], [1, 0, 1, 0])
    assert estimate.value == pytest.approx(0.5 * 0.45 + 0.5 * 0.05)
    assert estimate.low <= estimate.value <= estimate.high


def test_bins_report_what_was_said_and_what_came_true() -> None:
    low, high = reliability([0.1, 0.12, 0.9, 1.0], [0, 1, 1, 1], bins=2)
    assert (low.rate, low.n) == (0.5, 2)
    assert high.probability == pytest.approx(0.95)


def test_the_interval_holds_the_true_error() -> None:
    rng = np.random.default_rng(0)
    inside = {0.0: 0, 0.15: 0}
    for trial in range(40):
        probabilities = rng.uniform(0.2, 0.8, 400)
        for shift in inside:
            outcomes = rng.random(400) < probabilities + shift
            estimate = expected_calibration_error(probabilities, outcomes, seed=trial)
            inside[shift] += estimate.low <= shift <= estimate.high
    assert min(inside.values()) / 40 >= 0.85
