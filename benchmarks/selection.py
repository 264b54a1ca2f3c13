"""Which pairs should raters judge next? Each strategy against uniform at equal budget.

    python -m benchmarks.selection --out DIR --json

Embedded world. A first reward model is trained on 400 comparisons drawn uniformly. From a pool of 3,600 others each strategy
draws 400, as `truing select` does (with a uniform share of 0.15); simulated raters judge each once, and a reward model is trained
anew on all 800. Everything but the batch is equal, seeds too. Measured on held-out prompts drawn uniformly: accuracy against the
gold rule, and agreement with fresh judgments (their expectation, which is known).

`uniform_again` is a second uniform batch: how much two batches differ by chance alone. `judge_disagreement` is given a judge that
is better than any bought one: the judgments of one simulated rater outside the workforce, with that rater's own probabilities.
`findings_first` is left out: there is no finding before a policy has been trained and attacked, and which pairs a finding asks
for is a matter of what must be mended, not of what teaches most.

Also measured: what the batch says of the first reward model's accuracy on the whole pool, where the truth is known, weighed by
1 / propensity and as a plain mean. Each finished reward model is a line in DIR/rows.jsonl: a killed run goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
import torch

from benchmarks import machine
from benchmarks.worlds.reward_world import (
    World,
    agreement,
    by_gold,
    by_raters,
    fit,
    forget,
    gold_gap,
    guided,
    nats,
    p_first,
    workforce,
)
from benchmarks.worlds.tally import Row, run_all
from truing.evals.pair_scores import score_pairs
from truing.judges.simulated import Workforce, draw_raters
from truing.models.reward import RewardEnsemble
from truing.records import Comparison
from truing.selection.config import SelectionConfig, Strategy
from truing.selection.draw import draw
from truing.selection.evaluation import effective_sample_size, pool_rate
from truing.selection.pool import Pool
from truing.stats.intervals import bootstrap_paired, mean_interval, wilson_clustered

STRATEGIES: tuple[Strategy, ...] = tuple(name for name in get_args(Strategy) if name != "findings_first")
AGAIN = "uniform_again"
JUDGE_SEED = 10_000


class First(NamedTuple):
    """What is there before a batch is drawn: the first judgments, the reward model of them, and what is said of the pool."""

    world: World
    workers: Workforce
    judged: list[Comparison]
    pool: Pool
    right_N: np.ndarray
    """Whether the first reward model sides with gold, of the pool's pairs that gold does not call equal."""
    sided: frozenset[str]
    """Those pairs' ids, in the pool's order."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--pool", type=int, default=4000, help="comparisons sampled, the first batch among them")
    parser.add_argument("--budget", type=int, default=400, help="comparisons judged at first, and again in the batch")
    parser.add_argument("--heldout", type=int, default=1500)
    parser.add_argument("--json", action="store_true", help="print the result as one line of JSON, last")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = list(run_all(arguments.out / "rows.jsonl", dict(work(arguments))).values())
    result = {"command": "python -m benchmarks.selection", "machine": machine.describe(), **summary(rows)}
    print(json.dumps(result) if arguments.json else json.dumps(result, indent=1))


def work(arguments: argparse.Namespace) -> Iterator[tuple[str, Callable[[], Row]]]:
    """One reward model a seed and strategy."""
    for seed in range(arguments.seeds):
        make = cache(partial(first, arguments.out / f"seed-{seed}", seed, arguments))
        for name in (*STRATEGIES, AGAIN):
            yield f"seed-{seed}/{name}", partial(trained, make, name, arguments.budget)


def first(folder: Path, seed: int, arguments: argparse.Namespace) -> First:
    """The first batch, uniform: the comparisons were sampled in random order."""
    world = World.make(folder, seed, pool=arguments.pool, heldout=arguments.heldout)
    workers = workforce(world, guided())
    judged, rest = world.pool[: arguments.budget], world.pool[arguments.budget :]
    model = fit(world, "first", judged, workers.judge, workers.guideline).reward
    scores = score_pairs(RewardEnsemble.load(model), rest)
    judge = Workforce(tuple(draw_raters(1, JUDGE_SEED + seed)), workers.guideline, JUDGE_SEED + seed)
    sided = [c for c in rest if gold_gap(c) != 0]
    right = agreement(p_first(model, sided), by_gold(sided))
    pool = Pool.of(rest, scores, [j for c in rest for j in judge.judge(c)])
    return First(world, workers, judged, pool, right, frozenset(c.comparison_id for c in sided))


def trained(make: Callable[[], First], name: str, budget: int) -> Row:
    """Draw the batch, have it judged, train on both batches, measure."""
    start = make()
    strategy: Strategy = next((known for known in STRATEGIES if known == name), "uniform")
    config = SelectionConfig(budget=budget, strategy=strategy, seed=start.world.seed + (JUDGE_SEED if name == AGAIN else 0))
    batch = draw(start.pool, config).batch
    fitted = fit(start.world, name, [*start.judged, *batch], start.workers.judge, start.workers.guideline)
    heldout = start.world.heldout
    p, target = p_first(fitted.reward, heldout), by_gold(heldout)
    fresh = by_raters(heldout, start.workers.expected_preference)
    forget(start.world, name)
    prompts = [c.prompt.prompt_id for c in heldout]
    right, agrees = agreement(p, target), agreement(p, fresh)
    return {
        "seed": start.world.seed,
        "strategy": name,
        "accuracy": wilson_clustered(right, prompts).model_dump(),
        "fresh_agreement": mean_interval(agrees, prompts).model_dump(),
        "fresh_nats": mean_interval(nats(p, fresh), prompts).model_dump(),
        "of_the_pool": of_the_pool(start, batch),
        "each": {
            "accuracy": right.tolist(),
            "fresh_agreement": agrees.round(4).tolist(),
            "fresh_nats": nats(p, fresh).round(4).tolist(),
            "cluster": np.unique(np.array(prompts), return_inverse=True)[1].tolist(),
        },
    }


def of_the_pool(start: First, batch: Sequence[Comparison]) -> Row:
    """The first reward model's accuracy on the whole pool: the truth, and what the batch says with weights and without."""
    right = dict(
        zip((c.comparison_id for c in start.pool.comparisons if c.comparison_id in start.sided), start.right_N, strict=True)
    )
    some = [c for c in batch if c.comparison_id in right]
    values = [right[c.comparison_id] for c in some]
    return {
        "truth": float(start.right_N.mean()),
        "weighed": pool_rate(values, some).model_dump(),
        "plain": float(np.mean(values)),
        "effective_sample_size": effective_sample_size([c.propensity or 1.0 for c in batch]),
    }


def summary(rows: Sequence[Row]) -> Row:
    """Each strategy minus uniform over seeds, and how near the weighed estimate comes to the truth."""
    names = list(dict.fromkeys(row["strategy"] for row in rows))
    return {
        "raters_simulated": True,
        "left_out": {"findings_first": "there are no findings before a policy has been trained and attacked"},
        "uniform": {name: over_seeds([r[name]["value"] for r in rows if r["strategy"] == "uniform"]) for name in MEASURES},
        "minus_uniform": {name: minus_uniform(rows, name) for name in names if name != "uniform"},
        "of_the_pool": {name: nearness([r["of_the_pool"] for r in rows if r["strategy"] == name]) for name in names},
        "rows": [{key: value for key, value in row.items() if key not in {"each", "key"}} for row in rows],
    }


MEASURES = ("accuracy", "fresh_agreement", "fresh_nats")


def minus_uniform(rows: Sequence[Row], strategy: str) -> Row:
    """The mean over seeds of the paired difference with its interval, and each seed's clustered by prompt."""
    plain = {row["seed"]: row["each"] for row in rows if row["strategy"] == "uniform"}
    found: Row = {}
    for name in MEASURES:
        a_seed = [
            bootstrap_paired(row["each"][name], plain[row["seed"]][name], row["each"]["cluster"])
            for row in rows
            if row["strategy"] == strategy and row["seed"] in plain
        ]
        found[name] = over_seeds([estimate.value for estimate in a_seed])
        found[f"{name}_each_seed"] = [estimate.model_dump() for estimate in a_seed]
    return found


def over_seeds(values: Sequence[float]) -> Row:
    """Mean and t interval; n = seeds."""
    return mean_interval(values).model_dump()


def nearness(rows: Sequence[Row]) -> Row:
    """Mean error of the weighed and of the plain estimate, and how many weighed intervals hold the truth."""
    errors = {name: [_value(row[name]) - row["truth"] for row in rows] for name in ("weighed", "plain")}
    return {
        "seeds": len(rows),
        "truth": float(np.mean([row["truth"] for row in rows])),
        **{f"{name}_minus_truth": float(np.mean(each)) for name, each in errors.items()},
        "intervals_that_hold_it": sum(row["weighed"]["low"] <= row["truth"] <= row["weighed"]["high"] for row in rows),
        "effective_sample_size": float(np.mean([row["effective_sample_size"] for row in rows])),
    }


def _value(estimate: Row | float) -> float:
    return estimate["value"] if isinstance(estimate, dict) else estimate


if __name__ == "__main__":
    main()
