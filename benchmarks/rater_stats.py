"""What the statistics of judgments are worth where the truth is known: a simulated workforce, and simulated policies.

    python -m benchmarks.rater_stats --json

Everything here is simulated. Its parts:

- aggregation: 25 raters, five of whom toss coins and twenty are right in 62 to 95% (`WORKFORCES`; also with two of the coins
  turned into adversaries, right in 20%), label 2,000 pairs. Accuracy of majority vote, Dawid-Skene, MACE and the pairwise rater
  model; whether Dawid-Skene tells the coin-flippers: by rank (they are the five nearest to 1/2) and by interval (1/2 lies in
  the 95% interval of their balanced accuracy, and not in the others'); correlation of estimated with true accuracy.
- coin_flippers: the test of `truing raters` (`raters/coins.py`) names who cannot be told from a coin-flipper. In the workforce
  with five coin-flippers: whether all five are named, and the share of the others who are.
- told_from_coins: the same test among raters with planted biases (`raters/simulate.py`), three judgments a comparison: the shares
  of coin-flippers and of raters of usual reliability who are told from coin-flippers.
- leaderboards: eight policies 0.4 logits apart. Kendall's tau of the estimated order, and how often 95% intervals hold the true
  strength, for Bradley-Terry, Davidson (ties) and Plackett-Luce (rankings of four).
- gold: 25 raters who all like an answer twice as long by 0.8 log-odds, or by nothing; three judgments of each of 2,000
  comparisons, with and without gold, which is drawn from the clearest third or from all. The shared bias that the rater model
  finds, as a share of the true one (its error in log-odds where that is 0); percent of other comparisons labelled right.
- rater_model: raters with planted reliability and biases (`raters/simulate.py`); how often 95% intervals hold the truth.

Means over seeds with t intervals over seeds; shares of seeds with Wilson's.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from scipy import stats as distributions

from benchmarks.worlds.workforce import Labels, simulate
from truing.raters.coins import coin_z, told_from_coins
from truing.raters.evidence import Answers
from truing.raters.pairwise import fit_answers, fit_rater_model, make_answers
from truing.raters.simulate import SORTS, PlantedRaters
from truing.stats.aggregation import majority_vote
from truing.stats.bradley_terry import bradley_terry, davidson
from truing.stats.dawid_skene import DawidSkene, dawid_skene
from truing.stats.intervals import mean_interval, normal_quantile, wilson
from truing.stats.mace import mace
from truing.stats.plackett_luce import plackett_luce
from truing.stats.strengths import Strengths

Pick = Literal["clear", "any"]
HONEST = np.linspace(0.62, 0.95, 20)
COIN = 0.5
WORKFORCES = {
    "5 coins": np.r_[np.full(5, COIN), HONEST],
    "3 coins, 2 adversaries": np.r_[np.full(3, COIN), 0.2, 0.2, HONEST],
}
ITEMS, LABELS_AN_ITEM = 2000, (3, 5)
COIN_ITERATIONS = 40
"""Of the fit whose raters are tested: further ones (the best rater's reliability creeps on) move z by less than 0.05."""
CROWD, JUDGMENTS_EACH = 30, (30, 50, 120)
USUAL = (1.2, 1.8)
"""Reliability, in log-odds a standard deviation of quality."""

SHARED = 0.8
"""What all raters like an answer twice as long, in log-odds."""
GOLD: tuple[tuple[float, Pick], ...] = ((0.0, "clear"), (0.05, "clear"), (0.1, "clear"), (0.05, "any"))

POLICIES = [f"policy-{p}" for p in range(8)]
STRENGTH_P = 0.4 * (np.arange(8) - 3.5)
COMPARISONS = (300, 1000, 3000)
LOG_TIE = -0.5
RANKED = 4

SETTINGS = ((30, 2000, 3), (30, 6000, 3), (100, 3333, 3), (10, 600, 3))
"""Raters, comparisons, judgments of each."""
RELIABILITY = {"coin-flippers": (-0.01, 0.01), "up to 1.2": (0.01, 1.2), "1.2 to 2.2": (1.2, 2.2), "above 2.2": (2.2, 99.0)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20, help="of the workforces")
    parser.add_argument("--leaderboard-seeds", type=int, default=1000)
    parser.add_argument("--coin-seeds", type=int, default=100)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--json", action="store_true", help="only the last line")
    arguments = parser.parse_args()
    seeds = {"coin_flippers": arguments.coin_seeds, "leaderboards": arguments.leaderboard_seeds}
    result: dict[str, Any] = {"simulated": True}
    for name in arguments.parts:
        result[name] = PARTS[name](range(seeds.get(name, arguments.seeds)))
        if not arguments.json:
            print(name, json.dumps(result[name], indent=1), file=sys.stderr)
    print(json.dumps(result))


def aggregation(seeds: Sequence[int]) -> dict[str, Any]:
    """Every workforce at every number of labels."""
    return {
        f"{name}, {per_item} labels": over_seeds(
            aggregate(simulate(seed, items=ITEMS, per_item=per_item, accuracy_R=accuracy_R)) for seed in seeds
        )
        for name, accuracy_R in WORKFORCES.items()
        for per_item in LABELS_AN_ITEM
    }


def aggregate(labels: Labels) -> dict[str, float | bool]:
    """One seed: accuracy in percent, gains in points, and what Dawid-Skene says of the raters."""
    columns = labels[:3]
    fit = dawid_skene(*columns, 2)
    model = fit_answers(answers_of(labels))
    right = {
        "majority": majority_vote(*columns, 2).posterior_IL[np.arange(len(labels.truth_I)), labels.truth_I],
        "dawid_skene": fit.posterior_IL.argmax(axis=1) == labels.truth_I,
        "mace": mace(*columns, 2).posterior_IL.argmax(axis=1) == labels.truth_I,
        "rater_model": (model.dq_J < 0) == labels.truth_I,
    }
    percent = {name: 100 * float(values.mean()) for name, values in right.items()}
    gains = {f"{name}_minus_majority": value - percent["majority"] for name, value in percent.items() if name != "majority"}
    correlation = float(np.corrcoef(fit.balanced_accuracy_R, labels.accuracy_R)[0, 1])
    return {**percent, **gains, "accuracy_correlation": correlation, **coins_found(fit, labels.accuracy_R)}


def answers_of(labels: Labels) -> Answers:
    """Two labels as answers without sides, style or ties."""
    no_side, no_style = np.zeros(len(labels.item_N)), np.zeros((len(labels.truth_I), 0))
    return make_answers(labels.item_N, labels.rater_N, 1 - 2 * labels.label_N, no_side, no_style, 1, None, None)


def coins_found(fit: DawidSkene, accuracy_R: np.ndarray) -> dict[str, float | bool]:
    """`coins_by_rank`: the coin-flippers are those nearest to 1/2. By interval: which of them, and which others, hold 1/2."""
    is_coin = accuracy_R == COIN
    distance = np.abs(fit.balanced_accuracy_R - COIN)
    in_interval = distance < normal_quantile() * fit.balanced_accuracy_error_R
    return {
        "coins_by_rank": bool(is_coin[np.argsort(distance)[: is_coin.sum()]].all()),
        "coins_in_interval": float(in_interval[is_coin].mean()),
        "others_in_interval": float(in_interval[~is_coin].mean()),
    }


def coin_flippers(seeds: Sequence[int]) -> dict[str, Any]:
    """The workforce with five coin-flippers at every number of labels."""
    name, accuracy_R = next(iter(WORKFORCES.items()))
    return {
        f"{name}, {per_item} labels": over_seeds(
            coins_named(simulate(seed, items=ITEMS, per_item=per_item, accuracy_R=accuracy_R)) for seed in seeds
        )
        for per_item in LABELS_AN_ITEM
    }


def coins_named(labels: Labels) -> dict[str, float | bool]:
    """One seed: whether every coin-flipper is named, and the share of the others who are."""
    is_coin = labels.accuracy_R == COIN
    answers = answers_of(labels)
    named = ~told_from_coins(coin_z(answers, fit_answers(answers, max_iterations=COIN_ITERATIONS)))
    return {"all_coins_named": bool(named[is_coin].all()), "others_named": float(named[~is_coin].mean())}


def told_from_coins_by_judgments(seeds: Sequence[int]) -> dict[str, Any]:
    """Raters with planted biases and coin-flippers among them, by judgments each."""
    return {f"{CROWD} raters, {n} judgments each": over_seeds(crowd_told(seed, n) for seed in seeds) for n in JUDGMENTS_EACH}


def crowd_told(seed: int, each: int) -> dict[str, float | bool]:
    """One seed: the shares of coin-flippers and of raters of usual reliability who are told from coin-flippers."""
    planted = PlantedRaters.draw(CROWD, np.random.default_rng(seed))
    data = planted.judge(CROWD * each // 3, 3, np.random.default_rng(1000 + seed))
    answers = make_answers(data.item_N, data.rater_N, data.answer_N, data.left_N, data.style_JK, 1, CROWD, None)
    told = told_from_coins(coin_z(answers, fit_answers(answers)))
    is_usual = (planted.alpha_R > USUAL[0]) & (planted.alpha_R < USUAL[1])
    return {"coins_told": float(told[planted.sort_R == SORTS.index("coin")].mean()), "usual_told": float(told[is_usual].mean())}


def gold(seeds: Sequence[int]) -> dict[str, Any]:
    """Raters who share a bias, and raters who share none, at every share of gold."""
    return {
        f"shared length bias {shared:g}, {share:.0%} gold, {pick}": over_seeds(
            anchored(seed, shared, share, pick) for seed in seeds
        )
        for shared in (SHARED, 0.0)
        for share, pick in GOLD
    }


def anchored(seed: int, shared: float, share: float, pick: Pick, items: int = ITEMS) -> dict[str, float | bool]:
    """One seed: the mean length bias, of the true one where there is any, and labels of what is not gold."""
    planted = PlantedRaters.draw(25, np.random.default_rng(seed), share=0.0, shared=shared)
    data = planted.judge(items, 3, np.random.default_rng(1000 + seed))
    clearest = np.argsort(-np.abs(data.dq_J))[: items // 3 if pick == "clear" else items]
    picked = np.random.default_rng(2000 + seed).choice(clearest, round(share * items), replace=False)
    gold_J = np.full(items, np.nan)
    gold_J[picked] = np.sign(data.dq_J[picked])
    model = fit_rater_model(data.item_N, data.rater_N, data.answer_N, data.left_N, data.style_JK, gold_J=gold_J)
    votes_J = np.bincount(data.item_N, data.answer_N)
    right = {name: _percent_right(sure, data.dq_J, gold_J) for name, sure in (("model", model.dq_J), ("majority", votes_J))}
    found, truth = float(model.gamma_RK[:, 0].mean()), float(planted.gamma_RK[:, 0].mean())
    low, high = np.moveaxis(model.interval_RD2[:, 2], 1, 0)
    return {
        "shared_bias_found": found / truth if shared else found - truth,
        "bias_coverage": float(np.mean((low <= planted.gamma_RK[:, 0]) & (planted.gamma_RK[:, 0] <= high))),
        "reliability_found": float(model.alpha_R.mean() / planted.alpha_R.mean()),
        "labels_right": right["model"],
        "labels_minus_majority": right["model"] - right["majority"],
    }


def _percent_right(sure_J: np.ndarray, dq_J: np.ndarray, gold_J: np.ndarray) -> float:
    """Of comparisons that are not gold; ties count half."""
    right = (1 + np.sign(sure_J) * np.sign(dq_J)) / 2
    return 100 * float(right[np.isnan(gold_J)].mean())


def leaderboards(seeds: Sequence[int]) -> dict[str, Any]:
    """Every model at every number of comparisons (rankings for Plackett-Luce, with as many pairs as comparisons)."""
    return {
        f"{name}, {n}": over_seeds(placed(fit(np.random.default_rng((n, seed)), n)) for seed in seeds)
        for name, fit in LEADERBOARDS.items()
        for n in COMPARISONS
    }


def placed(fit: Strengths) -> dict[str, float | bool]:
    """One seed: order and intervals against the truth."""
    covered = [e.low <= true <= e.high for e, true in zip(fit.estimates(), STRENGTH_P, strict=True)]
    tau = float(distributions.kendalltau(fit.strength_P, STRENGTH_P).statistic)
    return {
        "kendall_tau": tau,
        "tau_at_least_0.95": tau >= 0.95,
        "best_first": bool(fit.strength_P.argmax() == 7),
        "coverage": float(np.mean(covered)),
    }


def compare(rng: np.random.Generator, n: int, log_tie: float = -np.inf) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First, second and outcome of comparisons of different policies drawn at random."""
    first = rng.integers(0, 8, n)
    second = (first + rng.integers(1, 8, n)) % 8
    lead = STRENGTH_P[first] - STRENGTH_P[second]
    logits = np.stack([-lead / 2, np.full(n, log_tie), lead / 2], axis=1)
    return first, second, (logits + rng.gumbel(size=logits.shape)).argmax(axis=1) / 2


def rank(rng: np.random.Generator, n: int) -> np.ndarray:
    """Rankings of RANKED policies drawn at random, best first: as many as have `n` pairs in all."""
    rankings = 2 * n // (RANKED * (RANKED - 1))
    ranked = np.argsort(rng.random((rankings, 8)), axis=1)[:, :RANKED]
    utility = STRENGTH_P[ranked] + rng.gumbel(size=ranked.shape)
    return np.take_along_axis(ranked, np.argsort(-utility, axis=1), axis=1)


LEADERBOARDS: Mapping[str, Callable[[np.random.Generator, int], Strengths]] = {
    "bradley_terry": lambda rng, n: bradley_terry(*compare(rng, n), POLICIES),
    "davidson": lambda rng, n: davidson(*compare(rng, n, LOG_TIE), POLICIES),
    "plackett_luce": lambda rng, n: plackett_luce(rank(rng, n), POLICIES),
}


def rater_model(seeds: Sequence[int]) -> dict[str, Any]:
    """Coverage of the rater model's 95% intervals in every setting.

    Six in ten raters are honest; a tenth each leans to the left, to length, to markdown, or tosses coins.
    """
    return {
        f"{raters} raters, {each * comparisons // raters} judgments each": over_seeds(
            model_coverage(seed, raters, comparisons, each) for seed in seeds
        )
        for raters, comparisons, each in SETTINGS
    }


def model_coverage(seed: int, raters: int, comparisons: int, each: int) -> dict[str, float | bool]:
    """One seed: the share of raters whose interval holds the truth, for each parameter, and for reliability by its true size."""
    planted = PlantedRaters.draw(raters, np.random.default_rng(seed))
    data = planted.judge(comparisons, each, np.random.default_rng(1000 + seed))
    model = fit_rater_model(data.item_N, data.rater_N, data.answer_N, data.left_N, data.style_JK)
    truth = np.column_stack([planted.alpha_R, planted.beta_R, planted.gamma_RK, planted.offset_RC])
    low, high = np.moveaxis(model.interval_RD2, 2, 0)
    covered = (low <= truth) & (truth <= high)
    names = ("reliability", "position", "length", "markdown", "ties")
    found = dict(zip(names, map(float, covered.mean(axis=0)), strict=True))
    for name, (least, most) in RELIABILITY.items():
        rows = (planted.alpha_R > least) & (planted.alpha_R <= most)
        found[f"reliability, {name}"] = float(covered[rows, 0].mean()) if rows.any() else np.nan
    return found


def over_seeds(rows: Iterable[Mapping[str, float | bool]]) -> dict[str, Any]:
    """Each figure's mean with its interval; of yes and no, the share of seeds."""
    columns = [dict(row) for row in rows]
    return {name: _summary([row[name] for row in columns]) for name in columns[0]}


def _summary(values: Sequence[float | bool]) -> dict[str, Any]:
    is_share = isinstance(values[0], bool)
    known = [value for value in values if not np.isnan(value)]
    return (wilson(sum(known), len(known)) if is_share else mean_interval(known)).model_dump()


PARTS: Mapping[str, Callable[[Sequence[int]], dict[str, Any]]] = {
    "aggregation": aggregation,
    "coin_flippers": coin_flippers,
    "told_from_coins": told_from_coins_by_judgments,
    "gold": gold,
    "leaderboards": leaderboards,
    "rater_model": rater_model,
}


if __name__ == "__main__":
    main()
