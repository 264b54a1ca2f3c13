import choix
import numpy as np
import pytest

from truing.errors import TruingError
from truing.stats.bradley_terry import bradley_terry
from truing.stats.plackett_luce import plackett_luce

PLAYERS = [f"policy-{p}" for p in range(6)]
TRUE_P = 0.5 * (np.arange(6) - 2.5)


def rank(seed: int, n: int, places: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    drawn = np.argsort(rng.random((n, 6)), axis=1)[:, :places]
    order = np.argsort(-(TRUE_P[drawn] + rng.gumbel(size=drawn.shape)), axis=1)
    return np.take_along_axis(drawn, order, axis=1)


def test_by_hand() -> None:
    # each is first, second and third once: equal strengths, each of six rankings with chance 1/6
    fit = plackett_luce([[0, 1, 2], [2, 0, 1], [1, 2, 0]], PLAYERS[:3])
    assert fit.strength_P == pytest.approx([0, 0, 0], abs=1e-9)
    assert fit.log_likelihood == pytest.approx(-3 * np.log(6))
    # with C = I - J/3, the first places hold 3 * C/3 of information, the second (1/4 for each of three pairs) 3/4 * C
    assert fit.covariance_KK == pytest.approx((np.eye(3) - 1 / 3) / 1.75, abs=1e-8)


@pytest.mark.parametrize("places", [3, 6])
def test_it_is_the_reference_librarys(places: int) -> None:
    rankings = rank(0, 200, places)
    reference = choix.ilsr_rankings(6, [list(row) for row in rankings], tol=1e-12)
    assert plackett_luce(rankings, PLAYERS).strength_P == pytest.approx(reference, abs=1e-6)


def test_rankings_of_different_lengths_are_the_reference_librarys() -> None:
    long, short = rank(1, 100, 5), rank(2, 100, 2)
    table = np.vstack([long, np.hstack([short, np.full((100, 3), -1)])])
    reference = choix.ilsr_rankings(6, [list(row) for row in long] + [list(row) for row in short], tol=1e-12)
    assert plackett_luce(table, PLAYERS).strength_P == pytest.approx(reference, abs=1e-6)


def test_of_pairs_it_is_bradley_terry() -> None:
    pairs = rank(3, 300, 2)
    clusters = np.repeat(np.arange(60), 5).tolist()
    weights = np.random.default_rng(0).uniform(0.1, 2, 300)
    for options in ({}, {"clusters": clusters}, {"weight_N": weights, "ridge": 0.3}):
        ranked = plackett_luce(pairs, PLAYERS, **options)
        paired = bradley_terry(pairs[:, 0], pairs[:, 1], np.ones(300), PLAYERS, **options)
        assert ranked.strength_P == pytest.approx(paired.strength_P, abs=1e-8)
        assert ranked.covariance_KK == pytest.approx(paired.covariance_KK, abs=1e-8)
        assert ranked.log_likelihood == pytest.approx(paired.log_likelihood)


def test_intervals_cover() -> None:
    hits = []
    for seed in range(200):
        estimates = plackett_luce(rank(seed, 120, 4), PLAYERS).estimates()
        hits += [e.low <= truth <= e.high for e, truth in zip(estimates, TRUE_P, strict=True)]
    assert 0.93 <= np.mean(hits) <= 0.97


@pytest.mark.parametrize(
    ("rankings", "message"),
    [
        ([0, 1], "a table"),
        ([[0, 1], [1, 2]], "'policy-0' never lost"),
        ([[0, 1], [1, 0], [2, 3], [3, 2]], "never compared"),
        ([[0, 6], [1, 0]], "numbered 0 to 3"),
        ([[0, -1], [1, 0]], "at least two players"),
        ([[0, -1, 1], [1, 0, 2]], "only at its end"),
        ([[0, 1, 0], [1, 0, 2]], "twice"),
    ],
)
def test_input_that_means_nothing_is_refused(rankings, message: str) -> None:
    players = PLAYERS[:3] if "policy" in message else PLAYERS[:4]
    with pytest.raises(TruingError, match=message):
        plackett_luce(rankings, players)
