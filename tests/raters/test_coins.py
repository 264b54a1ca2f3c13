import numpy as np
import pytest
from scipy import integrate

from truing.raters.choice import probabilities
from truing.raters.coins import coin_z, quality_by_others, told_from_coins
from truing.raters.evidence import Answers
from truing.raters.pairwise import fit_answers, make_answers
from truing.raters.simulate import SORTS, PlantedRaters

COIN = SORTS.index("coin")


def planted(seed: int, raters: int, comparisons: int, each: int = 3, share: float = 0.1) -> tuple[PlantedRaters, Answers]:
    people = PlantedRaters.draw(raters, np.random.default_rng(seed), share=share)
    data = people.judge(comparisons, each, np.random.default_rng(1000 + seed))
    return people, make_answers(data.item_N, data.rater_N, data.answer_N, data.left_N, data.style_JK, 1, raters, None)


def test_quality_by_others_is_the_integral_without_the_own_answer() -> None:
    _, answers = planted(0, 8, 60)
    model = fit_answers(answers)
    shown = quality_by_others(answers, model)
    own = 4  # the second judgment of item 1
    others = [n for n in np.flatnonzero(answers.item_N == answers.item_N[own]) if n != own]
    style = answers.style_JK[answers.item_N[own]]

    def joint(dq: float) -> float:
        p = np.exp(-((dq - style @ model.quality_effect_K) ** 2) / 2)
        for n in others:
            r = answers.rater_N[n]
            eta = model.alpha_R[r] * dq + model.beta_R[r] * answers.left_N[n] + model.gamma_RK[r] @ style
            p *= probabilities(np.array([eta]), model.offsets_RC[r][None])[0, answers.answer_N[n] + 1]
        return float(p)

    by_hand = integrate.quad(lambda x: x * joint(x), -9, 9)[0] / integrate.quad(joint, -9, 9)[0]
    assert shown[own] == pytest.approx(by_hand, abs=1e-5)


def test_what_nobody_else_judged_and_what_gold_says() -> None:
    answers = make_answers([0, 1, 1], [0, 0, 1], [1, 1, 1], [0, 0, 0], np.zeros((2, 0)), 1, 2, None)
    model = fit_answers(answers)
    assert quality_by_others(answers, model)[0] == pytest.approx(0, abs=1e-9)
    assert quality_by_others(answers, fit_answers(answers, [-1.0, np.nan]))[0] < -0.75


def test_one_coin_flipper_in_a_hundred_is_taken_for_a_rater() -> None:
    assert told_from_coins(np.array([2.5, -2.5, 2.6, -2.6, np.nan])).tolist() == [False, False, True, True, False]
    assert told_from_coins(np.random.default_rng(0).normal(size=100_000)).mean() == pytest.approx(0.01, abs=0.001)


def test_coin_flippers_are_standard_normal_and_others_are_told_from_them() -> None:
    # 5 seeds of 30 raters with 200 judgments each, of whom 6 toss coins; others' reliability is around 1.5
    coins, others = [], []
    for seed in range(5):
        people, answers = planted(seed, 30, 2000, share=0.2)
        z = coin_z(answers, fit_answers(answers))
        coins += list(z[people.sort_R == COIN])
        others += list(z[people.sort_R != COIN])
    assert len(coins) == 30
    assert abs(np.mean(coins)) < 0.6
    assert 0.7 < np.std(coins) < 1.35
    assert np.mean(np.array(others) > 1.96) > 0.9


def test_always_left_is_no_reliability_whatever_the_fit_says_and_upside_down_is_negative() -> None:
    _, answers = planted(1, 12, 1500, share=0.0)
    answer = np.where(answers.rater_N == 3, answers.left_N, answers.answer_N)
    answer = np.where(answers.rater_N == 5, -answers.answer_N, answer).astype(np.int8)
    answers = answers._replace(answer_N=answer)
    model = fit_answers(answers)
    z = coin_z(answers, model)
    assert model.alpha_R[3] > 0.5  # drawn to the others
    assert abs(z[3]) < 2.5
    assert z[5] < -5
    assert np.delete(z, [3, 5]).min() > 5
