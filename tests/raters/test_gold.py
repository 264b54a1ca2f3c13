import numpy as np
import pytest

from truing.errors import TruingError
from truing.raters.evidence import Quality, expect
from truing.raters.gold import GOLD_SD, LEAST_CLARITY, START_CLARITY, make_gold
from truing.raters.pairwise import RaterModel, fit_rater_model, make_answers
from truing.raters.simulate import PlantedRaters, Simulated

SHARED = 0.8
ITEMS = 3000


def crowd(seed: int, shared: float) -> tuple[PlantedRaters, Simulated]:
    people = PlantedRaters.draw(25, np.random.default_rng(seed), share=0.0, shared=shared)
    return people, people.judge(ITEMS, 4, np.random.default_rng(100 + seed))


def some_gold(data: Simulated, seed: int) -> np.ndarray:
    """The better answer of 5% of comparisons, drawn from the third that is clearest."""
    clear = np.argsort(-np.abs(data.dq_J))[: ITEMS // 3]
    picked = np.random.default_rng(200 + seed).choice(clear, ITEMS // 20, replace=False)
    gold_J = np.full(ITEMS, np.nan)
    gold_J[picked] = np.sign(data.dq_J[picked])
    return gold_J


def fit(data: Simulated, gold_J: np.ndarray | None = None) -> RaterModel:
    return fit_rater_model(data.item_N, data.rater_N, data.answer_N, data.left_N, data.style_JK, gold_J=gold_J)


def test_a_bias_that_all_raters_share_is_recovered_with_gold_and_not_without() -> None:
    # 25 raters who all like an answer twice as long by 0.8 log-odds, 3,000 comparisons judged by 4 each, 150 of them gold;
    # mean of 3 seeds
    with_gold, without, more_right = [], [], []
    for seed in range(3):
        people, data = crowd(seed, SHARED)
        gold_J = some_gold(data, seed)
        unknown = np.isnan(gold_J)
        told, untold = fit(data, gold_J), fit(data)
        truth = people.gamma_RK[:, 0].mean()
        with_gold.append(told.gamma_RK[:, 0].mean() / truth)
        without.append(untold.gamma_RK[:, 0].mean() / truth)
        right = [((m.dq_J > 0) == (data.dq_J > 0))[unknown].mean() for m in (told, untold)]
        more_right.append(right[0] - right[1])
        assert told.converged
    assert np.mean(with_gold) == pytest.approx(1, abs=0.2)
    assert np.mean(without) < 0.75
    assert np.mean(more_right) > 0


@pytest.mark.parametrize("picked", ["clear", "any"])
def test_where_raters_are_honest_gold_changes_next_to_nothing(picked: str) -> None:
    people, data = crowd(5, 0.0)
    gold_J = some_gold(data, 5)
    if picked == "any":
        gold_J = np.where(np.arange(ITEMS) % 20 == 0, np.sign(data.dq_J), np.nan)
    unknown = np.isnan(gold_J)
    told, untold = fit(data, gold_J), fit(data)
    assert np.corrcoef(told.dq_J[unknown], untold.dq_J[unknown])[0, 1] > 0.97
    assert told.dq_sd_J[unknown].mean() == pytest.approx(untold.dq_sd_J[unknown].mean(), rel=0.03)
    assert told.alpha_R.mean() == pytest.approx(untold.alpha_R.mean(), rel=0.07)
    assert told.beta_R == pytest.approx(untold.beta_R, abs=0.05)
    assert np.abs(told.gamma_RK.mean(axis=0) - people.gamma_RK.mean(axis=0)).max() < 0.2
    with_truth = [np.corrcoef(m.dq_J[unknown], data.dq_J[unknown])[0, 1] for m in (told, untold)]
    assert with_truth[0] > with_truth[1] - 0.01


def test_what_gold_says_of_effects_is_the_evidences_derivative() -> None:
    data = PlantedRaters.draw(6, np.random.default_rng(0), share=0.0).judge(40, 3, np.random.default_rng(1))
    answers = make_answers(data.item_N, data.rater_N, data.answer_N, data.left_N, data.style_JK, 1, 6, None)
    theta = np.random.default_rng(2).normal(0.8, 0.3, (6, answers.n_parameters))
    gold = make_gold(np.where(np.arange(40) < 12, np.sign(data.dq_J), np.nan), 40)
    start = Quality(np.zeros(40), np.ones(40))

    def log_evidence(effect_K: np.ndarray) -> float:
        return expect(answers, theta, gold.prior(data.style_JK, effect_K), start, nodes=60).log_evidence

    at, step = np.array([0.3, -0.2]), 1e-3
    prior = gold.prior(data.style_JK, at)
    found = gold.effects(data.style_JK, prior, expect(answers, theta, prior, start, nodes=60).quality)
    for k, unit in enumerate(np.eye(2)):
        up, here, down = (log_evidence(at + shift * unit) for shift in (step, 0, -step))
        assert (up - down) / (2 * step) == pytest.approx(found.score_K[k], rel=1e-3)
        assert -(up - 2 * here + down) / step**2 == pytest.approx(found.information_KK[k, k], rel=1e-2)


def test_gold_fixes_quality_whatever_its_style_and_says_nothing_of_the_rest() -> None:
    gold = make_gold([1, np.nan, 0], 3)
    prior = gold.prior(np.array([[2.0], [2.0], [2.0]]), np.array([0.5]))
    assert prior.mean_J == pytest.approx([START_CLARITY - 1, 0, -1])
    assert prior.sd_J == pytest.approx([GOLD_SD, 1, GOLD_SD])


def test_clarity_is_learned_but_a_hostile_crowd_does_not_turn_gold_round() -> None:
    gold, style = make_gold(np.tile([1.0, -1.0], 50), 100), np.zeros((100, 0))
    clear = Quality(2.0 * gold.side_J, np.full(100, 0.3))
    assert gold.judged(style, np.zeros(0), clear).clarity == pytest.approx((2 * 100 + 4 * START_CLARITY) / 104)
    assert gold.judged(style, np.zeros(0), Quality(-clear.mean_J, clear.sd_J)).clarity == LEAST_CLARITY


@pytest.mark.parametrize("gold_J", [[1.0], [1.0, 2.0], [0.5, np.nan]])
def test_gold_that_does_not_fit_is_refused(gold_J: list[float]) -> None:
    with pytest.raises(TruingError, match="gold: one for each of 2 comparisons"):
        make_gold(gold_J, 2)
