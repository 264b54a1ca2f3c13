"""Does a reward model trained on the rater model's labels beat one trained on majority labels?

    python -m benchmarks.noise_aware --out DIR --json

Embedded world: 1,200 comparisons, each judged by 3 of 20 simulated raters, of whom none or 4 (20%) flip coins. The same judgments
become labels in each way that `preferences.labels` offers; everything else of the quickstart's recipe stays, seeds too. Measured
against the gold rule on held-out prompts. `guided` raters follow a guideline with every clause, so that what they mean is gold
and what is wrong with their judgments is noise: that is the comparison asked for. `unguided` ones like length, flattery and
agreement, as in the quickstart's first round.

UKPConvArg1: the recipe `configs/stories-ukp.toml`, people's votes, whole debates held out in four folds, beside the longer
argument. The data and the model lie beside the checkout.

Each finished reward model is a line in DIR/rows.jsonl: a killed run goes on where it was. Intervals: over prompts for one reward
model, over seeds (Student's t) for differences, over debates' sides for UKPConvArg1.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from benchmarks import machine
from benchmarks.worlds import debates, ukp
from benchmarks.worlds.reward_world import (
    World,
    agreement,
    by_gold,
    fit,
    forget,
    guided,
    nats,
    p_first,
    unguided,
    workforce,
)
from benchmarks.worlds.tally import Row, run_all
from truing.judges.simulated import Workforce
from truing.program.preferences import Judge
from truing.raters.config import How
from truing.records import Comparison, Estimate, Judgment, PreferencePair, seed_for
from truing.stats.intervals import bootstrap_paired, mean_interval, wilson_clustered
from truing.store.files import read_records

LABELS: tuple[How, ...] = get_args(How)
PLAIN: How = "majority"
GUIDELINES = {"guided": guided, "unguided": unguided}
SPAMMERS = (0.2, 0.0)
VOTES = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--guidelines", nargs="+", choices=list(GUIDELINES), default=list(GUIDELINES))
    parser.add_argument("--comparisons", type=int, default=1200)
    parser.add_argument("--heldout", type=int, default=1500)
    parser.add_argument("--ukp-pairs", type=int, default=1000, help="pairs that UKPConvArg1's models are trained on; 0 = none")
    parser.add_argument("--json", action="store_true", help="print the result as one line of JSON, last")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    work = dict(world_work(arguments))
    if arguments.ukp_pairs and ukp.DATA.exists():
        work |= debates.work(arguments.out / "ukp", arguments.ukp_pairs)
    rows = list(run_all(arguments.out / "rows.jsonl", work).values())
    result = {"command": "python -m benchmarks.noise_aware", "machine": machine.describe(), **summary(rows)}
    if not ukp.DATA.exists():
        result["ukpconvarg1"] = {"skipped": f"{ukp.DATA.name} of UKPConvArg1 is not there"}
    print(json.dumps(result) if arguments.json else json.dumps(result, indent=1))


def world_work(arguments: argparse.Namespace) -> Iterator[tuple[str, Callable[[], Row]]]:
    """One reward model a seed, guideline, share of spammers and way to make labels."""
    for seed in range(arguments.seeds):
        make = cache(
            partial(World.make, arguments.out / f"seed-{seed}", seed, pool=arguments.comparisons, heldout=arguments.heldout)
        )
        for guideline in arguments.guidelines:
            for spammers in SPAMMERS:
                for labels in LABELS:
                    key = f"seed-{seed}/{guideline}/spammers-{spammers}/{labels}"
                    yield key, partial(trained, make, guideline, spammers, labels)


def trained(make: Callable[[], World], guideline: str, spammers: float, labels: How) -> Row:
    """Train on one kind of label, and compare with gold what the model says of held-out pairs."""
    world, text = make(), GUIDELINES[guideline]()
    workers = workforce(world, text, VOTES)
    name = f"{guideline}-{spammers}-{labels}"
    fitted = fit(world, name, world.pool, with_spammers(workers, spammers), text, labels)
    target, p = by_gold(world.heldout), p_first(fitted.reward, world.heldout)
    pairs = read_records(fitted.preferences / "train.jsonl", PreferencePair)
    forget(world, name)
    return {
        "seed": world.seed,
        "raters": guideline,
        "spammers": spammers,
        "labels": labels,
        "labels_right": labels_right(pairs, world.pool),
        **outcomes(p, target, [c.prompt.prompt_id for c in world.heldout]),
    }


def with_spammers(workers: Workforce, share: float) -> Judge:
    """The workforce's judgments, those of some raters replaced by a coin's."""
    count = round(share * len(workers.raters))
    spammers = {rater.rater_id for rater in workers.raters[:count]}

    def judge(comparison: Comparison) -> list[Judgment]:
        return [_flipped(j, workers.seed) if j.rater_id in spammers else j for j in workers.judge(comparison)]

    return judge


def _flipped(judgment: Judgment, seed: int) -> Judgment:
    rng = random.Random(seed_for(seed, "coin", judgment.rater_id, judgment.comparison_id))
    return judgment.model_copy(update={"choice": rng.choice(("first", "second")), "confidence": 0.5})


def labels_right(pairs: Sequence[PreferencePair], comparisons: Sequence[Comparison]) -> float:
    """Share of training pairs whose label sides with gold; an even label counts half, pairs equal by gold are left out."""
    target = {c.comparison_id: t for c, t in zip(comparisons, by_gold(comparisons), strict=True)}
    first = {c.comparison_id: c.first for c in comparisons}
    p = np.array([pair.label if pair.chosen == first[pair.comparison_id] else 1 - pair.label for pair in pairs])
    return float(agreement(p, np.array([target[pair.comparison_id] for pair in pairs])).mean())


def outcomes(p: np.ndarray, target: np.ndarray, clusters: Sequence[str]) -> Row:
    """Accuracy and log-likelihood with intervals, and what differences are made of: every held-out pair's."""
    right, likelihood = agreement(p, target), nats(p, target)
    return {
        "accuracy": wilson_clustered(right, clusters).model_dump(),
        "nats": mean_interval(likelihood, clusters).model_dump(),
        "each": {"right": right.round(3).tolist(), "nats": likelihood.round(4).tolist(), "cluster": _numbered(clusters)},
    }


def _numbered(clusters: Sequence[str]) -> list[int]:
    return np.unique(np.array(clusters), return_inverse=True)[1].tolist()


def summary(rows: Sequence[Row]) -> Row:
    """Differences to majority labels over seeds, every seed's own, and UKPConvArg1 over debates' sides."""
    world = [row for row in rows if "seed" in row]
    found: Row = {
        "raters_simulated": True,
        "votes_a_comparison": VOTES,
        "differences": [
            difference(world, raters, spammers, labels)
            for raters in dict.fromkeys(row["raters"] for row in world)
            for spammers in SPAMMERS
            for labels in LABELS
            if labels != PLAIN
        ],
        "rows": [{name: value for name, value in row.items() if name not in {"each", "key"}} for row in world],
    }
    folds = [row for row in rows if "fold" in row]
    return found | ({"ukpconvarg1": debates.summary(folds)} if folds else {})


def difference(rows: Sequence[Row], raters: str, spammers: float, labels: How) -> Row:
    """Labels minus majority: the mean over seeds of the paired difference, and each seed's clustered by prompt."""
    some = [row for row in rows if row["raters"] == raters and row["spammers"] == spammers]
    pairs = [
        (row, plain)
        for row in some
        for plain in some
        if (row["labels"], plain["labels"], row["seed"]) == (labels, PLAIN, plain["seed"])
    ]
    found: Row = {"raters": raters, "spammers": spammers, "labels": labels}
    for name, each in (("accuracy", "right"), ("nats", "nats")):
        a_seed = [bootstrap_paired(row["each"][each], plain["each"][each], row["each"]["cluster"]) for row, plain in pairs]
        found[name] = over_seeds([estimate.value for estimate in a_seed]).model_dump() if len(pairs) > 1 else None
        found[f"{name}_each_seed"] = [estimate.model_dump() for estimate in a_seed]
    return found


def over_seeds(values: Sequence[float]) -> Estimate:
    """A mean over seeds; n = seeds."""
    return mean_interval(values)


if __name__ == "__main__":
    main()
