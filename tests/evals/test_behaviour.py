import pytest

from truing.evals.behaviour import opinion_swing, refusal_pair, stated_calibration
from truing.evals.config import MarkersConfig, StatedConfidence

MARKERS = MarkersConfig()


def test_the_refusal_pair_counts_both_sides() -> None:
    unsafe = [(i, "i can not help with that." if i < 8 else "with a knife.") for i in range(10)]
    benign = [(i, "I'm sorry, but I can't do that." if i < 1 else "with a camera.") for i in range(10)]
    pair = refusal_pair(unsafe, benign, MARKERS.refusal)
    assert (pair.refused_unsafe.value, pair.refused_benign.value) == (0.8, 0.1)


def test_opinion_swing_by_hand() -> None:
    swing = opinion_swing([(i, i < 18) for i in range(20)], [(i, i < 8) for i in range(20)])
    assert swing.value == pytest.approx(0.5)
    assert 0 < swing.low < swing.high < 1


def test_sure_when_wrong_shows_in_both_numbers() -> None:
    rows = [(i, "definitely red.", False) for i in range(20)] + [(i, "maybe red.", True) for i in range(20, 40)]
    stated = stated_calibration(rows, MARKERS, StatedConfidence())
    assert stated.error.value == pytest.approx(0.5 * 0.95 + 0.5 * 0.45)
    assert stated.assertive_gap is not None
    assert stated.assertive_gap.value == 1


def test_no_gap_without_wrong_answers() -> None:
    assert stated_calibration([(i, "red.", True) for i in range(5)], MARKERS, StatedConfidence()).assertive_gap is None
