import pytest

from benchmarks.paired.ratio import paired_ratio


def test_five_pairs_give_the_median_and_the_extremes():
    ratio = paired_ratio([1.0, 1.0, 2.0, 1.0, 1.0], [3.0, 2.0, 2.0, 4.0, 5.0])
    assert ratio.value == 3.0
    assert (ratio.low, ratio.high) == (1.0, 5.0)
    assert ratio.coverage == pytest.approx(0.9375)


def test_many_pairs_leave_the_extremes_out():
    ratio = paired_ratio([1.0] * 9, [float(n) for n in range(1, 10)])
    assert (ratio.value, ratio.low, ratio.high) == (5.0, 2.0, 8.0)
    assert ratio.coverage == pytest.approx(1 - 2 * (1 + 9) / 2**9)


def test_one_pair_says_nothing_about_its_spread():
    assert paired_ratio([2.0], [6.0]) == (3.0, 3.0, 3.0, 0.0)


def test_sides_of_different_number_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        paired_ratio([1.0, 1.0], [1.0])
