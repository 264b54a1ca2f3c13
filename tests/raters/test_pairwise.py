import numpy as np
import pytest
from scipy import integrate

from benchmarks.worlds.workforce import simulate
from truing.errors import TruingError
from truing.raters.choice import choice_terms, probabilities
from truing.raters.evidence import Quality, expect, unpack
from truing.raters.pairwise import fit_rater_model, make_answers
from truing.raters.simulate import SORTS, PlantedRaters, Simulated


def fit(data: Simulated, **more: object):
    return fit_rater_model(data.item_N, data.rater_N, data.answer_N, data.left_N, data.style_JK, **more)


def test_three_levels_are_davidsons_model_by_hand() -> None:
    # eta = ln 4, nu = exp(c_0) = 1/2: first 2, second 1/2, tie 1/2
    p = probabilities(np.array([np.log(4)]), np.array([[np.log(0.5)]]))
    assert p[0] == pytest.approx([1 / 6, 1 / 6, 2 / 3])


def test_margins_by_hand() -> None:
    # eta = 2 ln 2, all offsets 0: levels -3..3 weigh 1/8, 1/4, 1/2, 1, 2, 4, 8
    p = probabilities(np.array([2 * np.log(2)]), np.zeros((1, 3)))
    assert p[0] == pytest.approx(2.0 ** np.arange(-3, 4) / (2.0 ** np.arange(-3, 4)).sum())


@pytest.mark.parametrize("levels", [1, 3])
def test_derivatives_of_an_answers_probability(levels: int) -> None:
    rng = np.random.default_rng(0)
    eta, offsets = rng.normal(0, 2, (6, 2)), rng.normal(0, 1, (6, levels))
    answer = np.array([-levels, -1, 0, 1, levels, 0], np.int8)
    terms, step = choice_terms(eta, offsets, answer), 1e-5
    up, down = (choice_terms(eta + s, offsets, answer) for s in (step, -step))
    assert (up.log_probability_NQ - down.log_probability_NQ) / (2 * step) == pytest.approx(terms.surprise_NQ, abs=1e-8)
    assert -(up.surprise_NQ - down.surprise_NQ) / (2 * step) == pytest.approx(terms.variance_NQ, abs=1e-8)
    for c, level in enumerate((0, 2, 3)[:levels]):
        moved = offsets + step * (np.arange(levels) == c)
        change = (choice_terms(eta, moved, answer).log_probability_NQ - terms.log_probability_NQ) / step
        given = (np.abs(answer) == level)[:, None]
        assert change == pytest.approx(given - terms.level_probability_CNQ[c], abs=1e-4)


def test_evidence_is_the_integral_over_quality() -> None:
    answers = make_answers([0, 0], [0, 1], [1, 0], [1, -1], [[0.5]], 1, None, None)
    theta = np.array([[1.2, 0.3, 0.4, -0.2], [0.7, -0.1, 0.2, 0.5]])
    prior = Quality(np.zeros(1), np.ones(1))
    found = expect(answers, theta, prior, prior, nodes=40)

    def joint(dq: float) -> float:
        eta = [1.2 * dq + 0.3 + 0.4 * 0.5, 0.7 * dq + 0.1 + 0.2 * 0.5]
        p = [probabilities(np.array([e]), np.array([[c]]))[0] for e, c in zip(eta, (-0.2, 0.5), strict=True)]
        return float(p[0][2] * p[1][1] * np.exp(-(dq**2) / 2) / np.sqrt(2 * np.pi))

    whole = integrate.quad(joint, -10, 10)[0]
    mean = integrate.quad(lambda x: x * joint(x), -10, 10)[0] / whole
    assert found.log_evidence == pytest.approx(np.log(whole), abs=1e-8)
    assert found.quality.mean_J[0] == pytest.approx(mean, abs=1e-8)


def test_score_and_observed_information_are_the_evidences_derivatives() -> None:
    rng = np.random.default_rng(1)
    data = PlantedRaters.draw(4, rng, share=0.0).judge(30, 1, rng)  # one judgment a comparison: raters' blocks are exact
    answers = make_answers(data.item_N, data.rater_N, data.answer_N, data.left_N, data.style_JK, 1, 4, None)
    theta = rng.normal(0.5, 0.5, (4, answers.n_parameters))
    prior = Quality(np.zeros(30), np.ones(30))

    def at(change: np.ndarray):
        return expect(answers, theta + change, prior, prior, nodes=40)

    here, step = at(np.zeros_like(theta)), 1e-5
    observed = unpack(here.observed_RP, answers.n_parameters)
    for d in range(answers.n_parameters):
        change = np.zeros_like(theta)
        change[2, d] = step
        up, down = at(change), at(-change)
        assert (up.log_evidence - down.log_evidence) / (2 * step) == pytest.approx(here.gradient_RD[2, d], abs=1e-6)
        curvature = -(up.gradient_RD[2] - down.gradient_RD[2]) / (2 * step)
        assert curvature == pytest.approx(observed[2, d], abs=1e-5)


def test_planted_biases_are_recovered_within_a_fifth() -> None:
    # 30 raters of whom 3 lean left by 0.8 log-odds, 3 like length and 3 markdown by as much, 3 toss coins; 10,000 comparisons
    # judged by 5 each (1,667 judgments a rater); 3 seeds. The mean over seeds of each planted sort is within 20%.
    ratios: dict[str, list[float]] = {"left": [], "length": [], "markdown": []}
    coins, covered = [], []
    for seed in range(3):
        planted = PlantedRaters.draw(30, np.random.default_rng(seed))
        model = fit(planted.judge(10_000, 5, np.random.default_rng(100 + seed)))
        assert model.converged
        estimates = {"left": model.beta_R, "length": model.gamma_RK[:, 0], "markdown": model.gamma_RK[:, 1]}
        truths = {"left": planted.beta_R, "length": planted.gamma_RK[:, 0], "markdown": planted.gamma_RK[:, 1]}
        for name, ratio in ratios.items():
            rows = planted.sort_R == SORTS.index(name)
            ratio.append(float(estimates[name][rows].mean() / truths[name][rows].mean()))
        coins.append(np.abs(model.alpha_R[planted.sort_R == SORTS.index("coin")]).max())
        covered.append((model.interval_RD2[:, 1, 0] < planted.beta_R) & (planted.beta_R < model.interval_RD2[:, 1, 1]))
    assert {name: np.mean(ratio) for name, ratio in ratios.items()} == pytest.approx(dict.fromkeys(ratios, 1.0), abs=0.2)
    assert max(coins) < 0.3
    assert np.mean(covered) > 0.88


def test_intervals_of_reliability_cover() -> None:
    # 5 seeds of 100 raters with 100 judgments each: 500 hits of 95%
    hits = []
    for seed in range(5):
        planted = PlantedRaters.draw(100, np.random.default_rng(seed))
        low, high = fit(planted.judge(3333, 3, np.random.default_rng(1000 + seed))).interval_RD2[:, 0].T
        hits.append((low < planted.alpha_R) & (planted.alpha_R < high))
    assert 0.9 < np.mean(hits) < 0.97


def test_raters_who_never_tie_are_fitted() -> None:
    # items of two kinds and raters right in 62 to 95%: the best look certain, and must not run off
    labels = simulate(0, items=2000, per_item=3, accuracy_R=np.r_[np.full(5, 0.5), np.linspace(0.62, 0.95, 20)])
    columns = labels.item_N, labels.rater_N, 1 - 2 * labels.label_N, np.zeros(len(labels.item_N)), np.zeros((2000, 0))
    model = fit_rater_model(*columns)
    assert model.converged
    assert model.alpha_R.max() < 6


def test_swapping_stored_order_flips_the_sign_of_quality_only() -> None:
    data = PlantedRaters.draw(20, np.random.default_rng(0)).judge(300, 4, np.random.default_rng(1))
    swapped = data._replace(answer_N=-data.answer_N, left_N=-data.left_N, style_JK=-data.style_JK)
    one, other = fit(data), fit(swapped)
    assert other.dq_J == pytest.approx(-one.dq_J, abs=1e-6)
    assert other.rater_RD == pytest.approx(one.rater_RD, abs=1e-6)


def test_order_of_judgments_and_a_rater_without_any_do_not_matter() -> None:
    data = PlantedRaters.draw(20, np.random.default_rng(0)).judge(300, 4, np.random.default_rng(1))
    order = np.random.default_rng(2).permutation(len(data.item_N))
    shuffled = Simulated(*(column[order] for column in data[:4]), data.style_JK, data.dq_J)
    one, other = fit(data), fit(shuffled, n_raters=21)
    assert other.dq_J == pytest.approx(one.dq_J, abs=1e-6)
    assert other.rater_RD[:20] == pytest.approx(one.rater_RD, abs=1e-6)
    assert other.rater_RD[20] == pytest.approx(one.population.to_natural() @ one.population.expected(), abs=1e-6)


def test_weight_zero_is_absence_and_gold_turns_a_hostile_crowd_round() -> None:
    planted = PlantedRaters.draw(10, np.random.default_rng(0), share=0.0)
    data = planted.judge(200, 4, np.random.default_rng(1))
    weight = np.where(data.rater_N == 3, 0.0, 1.0)
    assert fit(data, weight_N=weight).judgments_R[3] == 0
    hostile = data._replace(answer_N=-data.answer_N)
    gold = np.where(np.arange(200) < 100, np.sign(data.dq_J), np.nan)
    upside_down, told = fit(hostile), fit(hostile, gold_J=gold)
    assert upside_down.alpha_R.mean() > 0
    assert told.alpha_R.mean() < 0
    assert np.corrcoef(told.dq_J[100:], data.dq_J[100:])[0, 1] > 0.6


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([], [], [], [], np.zeros((0, 1))), "no judgments"),
        (([0], [0], [2], [1], [[0.0]]), "answers -1 to 1"),
        (([0], [0, 1], [1], [1], [[0.0]]), "differ in length"),
        (([0], [0], [1], [1], [[0.0], [0.0]]), "at least one judgment"),
    ],
)
def test_columns_that_do_not_fit_are_refused(columns: tuple, message: str) -> None:
    with pytest.raises(TruingError, match=message):
        fit_rater_model(*columns)
