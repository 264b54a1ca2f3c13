import math

import choix
import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize
from scipy import stats as distributions

from truing.errors import TruingError
from truing.stats.bradley_terry import bradley_terry, davidson

PLAYERS = [f"policy-{p}" for p in range(8)]
TRUE_P = 0.4 * (np.arange(8) - 3.5)


def compare(seed: int, n: int, log_nu: float = -np.inf, pull_N: np.ndarray | float = 0.0) -> tuple[np.ndarray, ...]:
    """First, second and outcome of n comparisons; ties with log-propensity `log_nu`, `pull_N` added to the first's lead."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 8, n)
    second = (first + rng.integers(1, 8, n)) % 8
    lead = TRUE_P[first] - TRUE_P[second] + pull_N
    logits = np.stack([-lead / 2, np.full(n, log_nu), lead / 2], axis=1)
    return first, second, (logits + rng.gumbel(size=logits.shape)).argmax(axis=1) / 2


def test_two_players_by_hand() -> None:
    # three wins to one: difference log 3; information n p (1 - p) = 3/4 for the difference
    fit = bradley_terry([0, 0, 1, 0], [1, 1, 0, 1], [1, 1, 0, 0], PLAYERS[:2])
    assert fit.strength_P == pytest.approx([math.log(3) / 2, -math.log(3) / 2])
    estimate = fit.difference(0, 1)
    assert estimate.value == pytest.approx(math.log(3))
    assert estimate.high - estimate.value == pytest.approx(1.959964 * math.sqrt(4 / 3), rel=1e-6)
    assert fit.log_likelihood == pytest.approx(3 * math.log(0.75) + math.log(0.25))
    assert [e.n for e in fit.estimates()] == [4, 4]


def test_davidson_by_hand() -> None:
    # 3 wins, 1 loss, 4 ties: shares are fitted exactly; e^d = 3, nu = 4 / sqrt(3 * 1)
    fit = davidson([0] * 8, [1] * 8, [1, 1, 1, 0, 0.5, 0.5, 0.5, 0.5], PLAYERS[:2])
    assert fit.difference(0, 1).value == pytest.approx(math.log(3))
    assert fit.other[0].value == pytest.approx(math.log(4 / math.sqrt(3)))
    # information of the difference: variance of +-1/2 (ties 0) less what the tie explains
    spread, tied, lead = 4 / 8 / 4 - (2 / 8 / 2) ** 2, 0.5, 0.125
    information = 8 * (spread - (lead * tied) ** 2 / (tied * (1 - tied)))
    assert fit.difference(0, 1).high - math.log(3) == pytest.approx(1.959964 / math.sqrt(information), rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_reference_librarys(seed: int) -> None:
    first, second, outcome = compare(seed, 600)
    wins = [(a, b) if won else (b, a) for a, b, won in zip(first, second, outcome, strict=True)]
    plain, ridged = bradley_terry(first, second, outcome, PLAYERS), bradley_terry(first, second, outcome, PLAYERS, ridge=0.2)
    assert plain.strength_P == pytest.approx(choix.ilsr_pairwise(8, wins, tol=1e-12), abs=1e-6)
    assert ridged.strength_P == pytest.approx(choix.opt_pairwise(8, wins, alpha=0.1, tol=1e-12), abs=1e-6)


def test_style_and_clustered_errors_are_those_of_a_logistic_regression() -> None:
    rng = np.random.default_rng(3)
    style = rng.normal(size=(900, 2))
    first, second, outcome = compare(4, 900, pull_N=style @ [0.8, -0.3])
    clusters = np.repeat(np.arange(180), 5)
    design = np.zeros((900, 9))
    for player in range(1, 8):
        design[:, player - 1] = (first == player).astype(float) - (second == player)
    design[:, 7:] = style
    model = sm.GLM(outcome, design, family=sm.families.Binomial())
    plain, robust = model.fit(tol=1e-12), model.fit(tol=1e-12, cov_type="cluster", cov_kwds={"groups": clusters})
    mine = bradley_terry(first, second, outcome, PLAYERS, covariate_NC=style)
    mine_robust = bradley_terry(first, second, outcome, PLAYERS, covariate_NC=style, clusters=clusters.tolist())
    half, student = 1.959963984540054, float(distributions.t.ppf(0.975, 179))
    their_factor = math.sqrt(899 / (900 - 9))  # statsmodels' second small-sample factor
    assert [e.value for e in mine.other] == pytest.approx(plain.params[7:], abs=1e-6)
    assert [(e.high - e.value) / half for e in mine.other] == pytest.approx(plain.bse[7:], rel=1e-6)
    assert [(e.high - e.value) / student for e in mine_robust.other] == pytest.approx(robust.bse[7:] / their_factor, rel=1e-6)
    for player in range(1, 8):
        estimate = mine_robust.difference(player, 0)
        assert estimate.value == pytest.approx(plain.params[player - 1], abs=1e-6)
        assert (estimate.high - estimate.value) / student == pytest.approx(robust.bse[player - 1] / their_factor, rel=1e-6)
        assert estimate.n == 180


def test_davidson_is_the_maximum_a_general_optimiser_finds() -> None:
    first, second, outcome = compare(5, 500, log_nu=-0.5)
    weight = np.random.default_rng(0).uniform(0.1, 2, 500)

    def loss(theta: np.ndarray) -> float:
        strength, nu = np.exp(np.r_[0, theta[:7]]), np.exp(theta[7])
        a, b = strength[first], strength[second]
        tie = nu * np.sqrt(a * b)
        return -weight @ np.log(np.select([outcome == 1, outcome == 0], [a, b], tie) / (a + b + tie))

    found = optimize.minimize(loss, np.zeros(8), method="BFGS", options={"gtol": 1e-7})
    fit = davidson(first, second, outcome, PLAYERS, weight_N=weight)
    assert fit.strength_P - fit.strength_P[0] == pytest.approx(np.r_[0, found.x[:7]], abs=1e-5)
    assert fit.other[0].value == pytest.approx(found.x[7], abs=1e-5)
    assert fit.log_likelihood == pytest.approx(-found.fun, abs=1e-8)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_swapping_sides_and_splitting_weights_changes_nothing(seed: int) -> None:
    first, second, outcome = compare(seed, 200, log_nu=-1.0)
    rng = np.random.default_rng(seed)
    swap, order = rng.random(200) < 0.5, rng.permutation(400)
    one, other = np.where(swap, second, first), np.where(swap, first, second)
    flipped = np.where(swap, 1 - outcome, outcome)
    halves = [np.tile(column, 2)[order] for column in (one, other, flipped)]
    for model in (bradley_terry, davidson):
        plain, same = model(first, second, outcome, PLAYERS), model(*halves, PLAYERS, weight_N=np.full(400, 0.5))
        assert same.parameter_K == pytest.approx(plain.parameter_K, abs=1e-6)
        assert same.covariance_KK == pytest.approx(plain.covariance_KK, abs=1e-6)


def test_the_same_comparison_four_times_is_one_unit() -> None:
    columns = compare(6, 600)
    four = [np.tile(column, 4) for column in columns]
    once = bradley_terry(*columns, PLAYERS, clusters=range(600)).difference(7, 0)
    naive = bradley_terry(*four, PLAYERS).difference(7, 0)
    clustered = bradley_terry(*four, PLAYERS, clusters=np.tile(np.arange(600), 4).tolist()).difference(7, 0)
    assert clustered.high == pytest.approx(once.high, abs=1e-6)
    assert (naive.high - naive.low) * 2 == pytest.approx(clustered.high - clustered.low, rel=0.1)


def test_style_is_taken_off_the_strengths() -> None:
    # answers of policy 7 are long, and length pays 1 logit: without control it stands a logit too high
    rng = np.random.default_rng(7)
    first, second = rng.integers(0, 8, 6000), rng.integers(1, 8, 6000)
    second = (first + second) % 8
    length = (first == 7).astype(float) - (second == 7) + 0.5 * rng.normal(size=6000)
    lead = TRUE_P[first] - TRUE_P[second] + length
    outcome = rng.random(6000) < 1 / (1 + np.exp(-lead))
    controlled = bradley_terry(first, second, outcome, PLAYERS, covariate_NC=length)
    assert controlled.difference(7, 6).low < 0.4 < controlled.difference(7, 6).high
    assert controlled.other[0].low < 1 < controlled.other[0].high
    assert bradley_terry(first, second, outcome, PLAYERS).difference(7, 6).low > 1


def test_intervals_cover() -> None:
    """300 seeds x 8 strengths: with 95% and players' dependence, 2,400 hits lie in 93 to 97%."""
    hits = []
    for seed in range(300):
        estimates = bradley_terry(*compare(seed, 500), PLAYERS).estimates()
        hits += [e.low <= truth <= e.high for e, truth in zip(estimates, TRUE_P, strict=True)]
    assert 0.93 <= np.mean(hits) <= 0.97


def test_players_who_cannot_be_placed_are_named() -> None:
    names = ["ann", "bob", "cyd", "dee"]
    with pytest.raises(TruingError, match="'dee' were never compared"):
        bradley_terry([0, 1, 2], [1, 2, 0], [1, 1, 1], names)
    with pytest.raises(TruingError, match="'cyd' never lost"):
        bradley_terry([0, 1, 2], [1, 0, 0], [1, 1, 1], names[:3])
    assert bradley_terry([0, 1, 2, 2], [1, 0, 0, 3], [1, 1, 1, 1], names, ridge=0.1).strength_P.argmax() == 2
    # a tie connects both ways
    assert bradley_terry([0, 1, 2], [1, 0, 0], [1, 1, 0.5], names[:3]).strength_P == pytest.approx([0, 0, 0], abs=1e-9)


def test_covariates_that_decide_or_repeat_are_refused() -> None:
    first, second, outcome = compare(8, 300)
    with pytest.raises(TruingError, match="no finite maximum"):
        bradley_terry(first, second, outcome, PLAYERS, covariate_NC=2 * outcome - 1)
    for useless in (np.zeros(300), (first == 3) * 1.0 - (second == 3)):
        with pytest.raises(TruingError, match="leave it out"):
            bradley_terry(first, second, outcome, PLAYERS, covariate_NC=useless)


@pytest.mark.parametrize(
    ("model", "columns", "message"),
    [
        (bradley_terry, ([], [], []), "none were given"),
        (bradley_terry, ([0], [1], []), "differ in length"),
        (bradley_terry, ([0], [9], [1]), "numbered 0 to 7"),
        (bradley_terry, ([0], [0], [1]), "themself"),
        (bradley_terry, ([0], [1], [1.5]), "outcomes are from 0 to 1"),
        (davidson, ([0], [1], [0.7]), "use bradley_terry"),
        (davidson, ([0, 0], [1, 1], [0, 1]), "needs ties and wins"),
        (davidson, ([0, 0], [1, 1], [0.5, 0.5]), "needs ties and wins"),
    ],
)
def test_input_that_means_nothing_is_refused(model, columns, message: str) -> None:
    with pytest.raises(TruingError, match=message):
        model(*columns, PLAYERS)


def test_one_cluster_shows_no_spread() -> None:
    with pytest.raises(TruingError, match="two clusters"):
        bradley_terry(*compare(9, 300), PLAYERS, clusters=["only"] * 300)
