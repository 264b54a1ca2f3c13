import pytest

from truing.stats.mcnemar import mcnemar


def test_only_discordant_pairs_count() -> None:
    test = mcnemar([True] * 8 + [False] * 2 + [True] * 30, [False] * 8 + [True] * 2 + [True] * 30)
    assert (test.first_only, test.second_only) == (8, 2)
    assert test.p_value == pytest.approx(2 * (1 + 10 + 45) / 1024)
    assert test.difference.value == pytest.approx(6 / 40)


def test_no_discordant_pair_is_no_evidence() -> None:
    assert mcnemar([True, False], [True, False]).p_value == 1
