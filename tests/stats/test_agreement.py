import math

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.inter_rater import aggregate_raters, cohens_kappa
from statsmodels.stats.inter_rater import fleiss_kappa as statsmodels_fleiss

from truing.errors import TruingError
from truing.stats.agreement import Agreement, cohen_kappa, fleiss_kappa, krippendorff_alpha, percent_agreement

NAN = math.nan
# Krippendorff (2011), "Computing Krippendorff's alpha-reliability", section D: four observers, twelve units
KRIPPENDORFF = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
)
STATISTICS = [percent_agreement, cohen_kappa, fleiss_kappa, krippendorff_alpha]


def long(table_RI: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A table of raters by items, NaN where there is no label, in long format."""
    rater, item = np.nonzero(~np.isnan(table_RI))
    return item, rater, table_RI[rater, item]


def random_table(seed: int, raters: int, items: int, labels: int, missing: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, labels, items)
    table = np.where(rng.random((raters, items)) < 0.5, truth, rng.integers(0, labels, (raters, items))).astype(float)
    table[rng.random(table.shape) < missing] = NAN
    return table


def test_percent_agreement_by_hand() -> None:
    # items of three labels: all three pairs agree; one of three does; of two labels: none does
    estimate = percent_agreement([0, 0, 0, 1, 1, 1, 2, 2, 3], [0, 1, 2, 0, 1, 2, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 1, 1])
    assert estimate.value == pytest.approx((1 + 1 / 3 + 0) / 3)
    assert (estimate.n, estimate.n_clusters) == (8, 3)


def test_cohen_by_hand() -> None:
    # both yes 20, both no 15, only the first yes 5, only the second 10: (0.7 - 0.5) / (1 - 0.5)
    first, second = [1] * 20 + [0] * 15 + [1] * 5 + [0] * 10, [1] * 20 + [0] * 15 + [0] * 5 + [1] * 10
    estimate = cohen_kappa(list(range(50)) * 2, [0] * 50 + [1] * 50, first + second)
    assert estimate.value == pytest.approx(0.4)
    assert (estimate.n, estimate.n_clusters) == (100, 50)


def test_fleiss_by_hand() -> None:
    # counts (3, 0), (1, 2), (0, 3): P = (1 + 1/3 + 1)/3 = 7/9, shares 4/9 and 5/9: P_e = 41/81
    estimate = fleiss_kappa(np.repeat([0, 1, 2], 3), np.tile([0, 1, 2], 3), [0, 0, 0, 0, 1, 1, 1, 1, 1])
    assert estimate.value == pytest.approx((7 / 9 - 41 / 81) / (1 - 41 / 81))


@pytest.mark.parametrize(("level", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_is_the_published_one(level: str, published: float) -> None:
    estimate = krippendorff_alpha(*long(KRIPPENDORFF), level)
    assert estimate.value == pytest.approx(published, abs=5e-4)
    assert (estimate.n, estimate.n_clusters) == (40, 11)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
def test_alpha_is_the_reference_librarys(level: str, seed: int) -> None:
    table = random_table(seed, raters=6, items=40, labels=2 + seed, missing=0.1 * seed)
    assert krippendorff_alpha(*long(table), level).value == pytest.approx(
        krippendorff.alpha(table, level_of_measurement=level), abs=1e-9
    )


@pytest.mark.parametrize("seed", range(5))
def test_kappas_are_the_reference_librarys(seed: int) -> None:
    table = random_table(seed, raters=4, items=50, labels=2 + seed)
    counts, _ = aggregate_raters(table.T.astype(int))
    assert fleiss_kappa(*long(table)).value == pytest.approx(statsmodels_fleiss(counts), abs=1e-9)
    cells = np.zeros((2 + seed, 2 + seed))
    np.add.at(cells, tuple(table[:2].astype(int)), 1)
    assert cohen_kappa(*long(table[:2])).value == pytest.approx(cohens_kappa(cells).kappa, abs=1e-9)


@pytest.mark.parametrize("statistic", [cohen_kappa, fleiss_kappa, krippendorff_alpha])
def test_unanimous_labels_say_undefined(statistic) -> None:
    estimate = statistic(*long(np.ones((2, 10))))
    assert math.isnan(estimate.value)
    assert math.isnan(estimate.low)
    assert "no variation" in estimate.undefined
    assert '"value":null' in estimate.to_json()
    assert math.isnan(Agreement.model_validate_json(estimate.to_json()).value)


def test_unanimous_raters_agree_in_percent_with_an_interval_that_knows_how_few() -> None:
    estimate = percent_agreement(*long(np.ones((2, 10))))
    assert estimate.value == estimate.high == 1
    assert estimate.low == pytest.approx(0.722, abs=1e-3)  # Wilson, 10 of 10


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("items", [[0, 1, 2, 3], [0, 0, 1, 2]])
def test_fewer_than_two_items_with_two_labels_say_undefined(statistic, items: list[int]) -> None:
    estimate = statistic(items, [0, 1, 0, 1], [0, 1, 0, 1])
    assert math.isnan(estimate.value)
    assert "two items" in estimate.undefined


@pytest.mark.parametrize("statistic", STATISTICS)
def test_input_that_means_nothing_is_refused(statistic) -> None:
    with pytest.raises(TruingError, match="none were given"):
        statistic([], [], [])
    with pytest.raises(TruingError, match="differ in length"):
        statistic([0, 1], [0, 1], [0])
    with pytest.raises(TruingError, match="twice"):
        statistic([0, 0, 1, 1], [0, 0, 0, 1], [1, 1, 0, 0])


def test_cohen_is_for_two_raters() -> None:
    with pytest.raises(TruingError, match="fleiss_kappa"):
        cohen_kappa(*long(np.ones((3, 5))))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_order_and_names_do_not_matter(seed: int) -> None:
    table = random_table(seed, raters=5, items=20, labels=3, missing=0.2)
    item, rater, label = long(table)
    order = np.random.default_rng(seed).permutation(len(item))
    named_item, named_rater = np.array([f"item {i * 37 % 20}" for i in item]), np.array([f"rater {r}" for r in rater])
    for statistic in (percent_agreement, fleiss_kappa, krippendorff_alpha):
        mine, other = statistic(item, rater, label), statistic(named_item[order], named_rater[order], label[order])
        assert mine.value == pytest.approx(other.value, abs=1e-12)
        assert (mine.low, mine.high) == pytest.approx((other.low, other.high), abs=1e-12)


def test_a_far_label_costs_more_than_a_near_one_only_on_ordered_levels() -> None:
    near, far = np.tile([0.0, 1.0, 2.0, 3.0], (2, 5)), np.tile([0.0, 1.0, 2.0, 3.0], (2, 5))
    near[1, 0], far[1, 0] = 1, 3
    loss = {
        level: krippendorff_alpha(*long(near), level).value - krippendorff_alpha(*long(far), level).value
        for level in ("nominal", "ordinal", "interval")
    }
    assert loss["nominal"] == pytest.approx(0, abs=1e-3)
    assert loss["ordinal"] > 0.05
    assert loss["interval"] > 0.05


def test_intervals_cover_and_count_an_item_once() -> None:
    """200 data sets of 80 items, five raters: the interval holds the statistic of 200,000 items."""
    truth = {s: s(*long(random_table(1, 5, 200_000, 3)), resamples=2).value for s in (percent_agreement, krippendorff_alpha)}
    for statistic, value in truth.items():
        estimates = [statistic(*long(random_table(100 + seed, 5, 80, 3)), resamples=300) for seed in range(200)]
        covered = sum(e.low <= value <= e.high for e in estimates) / 200
        assert 0.90 <= covered <= 0.985
