"""Does the pairwise rater model predict people's votes better than majority vote and Dawid-Skene do?

    python -m benchmarks.rater_model --json

UKPConvArg1: five votes a pair of arguments (first, second, equal), each vote predicted from the other four of its pair and all
votes of other pairs: five folds, one vote of each pair held out in turn. Log-likelihood in nats a vote. What it is compared
with is given its best setting in hindsight: majority vote as smoothed shares (n_y + k p_y) / (n + k), Dawid-Skene by its
predictive distribution. `ablation` says what the gain comes from: the model without one of its terms, with reliability only,
and with all raters taken for one (`VARIANTS`; habits in ties stay), each beside the full model and both baselines. Intervals
are paired bootstraps over pairs, and over stances (24 debates' sides), which is stricter; the ablation's are over stances.
The data lie beside the checkout.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.worlds import ukp
from truing.raters.columns import Columns, to_columns
from truing.raters.pairwise import fit_rater_model
from truing.raters.style import MEASURES, Style, style_of
from truing.stats.dawid_skene import dawid_skene
from truing.stats.intervals import bootstrap_paired

FOLDS = 5
SMOOTHING = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0)
SHRINKAGE = (1.0, 4.0, 16.0, 64.0)


class Variant(NamedTuple):
    """What a fit leaves out of the model: styles by name, the pull to the left, differences between raters."""

    without: tuple[str, ...] = ()
    position: bool = True
    one_rater: bool = False


STYLES = tuple(MEASURES)
FULL = "rater_model"
VARIANTS = {
    FULL: Variant(),
    **{f"without {name}": Variant(without=(name,)) for name in STYLES},
    "without position": Variant(position=False),
    "without style": Variant(without=STYLES),
    "reliability only": Variant(without=STYLES, position=False),
    "one rater for all": Variant(one_rater=True),
    "one rater, no terms": Variant(without=STYLES, position=False, one_rater=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ukp.DATA)
    parser.add_argument("--pairs", type=int, help="only the first so many pairs")
    parser.add_argument("--json", action="store_true", help="only the last line")
    arguments = parser.parse_args()
    if not arguments.data.exists():
        print(json.dumps({"skipped": f"{arguments.data} is not there: UKPConvArg1 with its votes is needed"}))
        return
    comparisons, judgments = ukp.read_votes(arguments.data, arguments.pairs)
    result = held_out(to_columns(comparisons, judgments), quiet=arguments.json)
    print(json.dumps(result))


def held_out(columns: Columns, *, quiet: bool) -> dict[str, Any]:
    """Every vote's log-probability under each model, and the differences with their intervals."""
    fold_N = folds(columns.item_N)
    style = style_of(columns.comparisons)
    variants = {name: v for name, v in VARIANTS.items() if len(v.without) != 1 or v.without[0] in style.names}
    found: dict[str, np.ndarray] = {}
    seconds = 0.0
    for fold in range(FOLDS):
        train, test = fold_N != fold, fold_N == fold
        began = time.perf_counter()
        scores = {FULL: rater_model(columns, style, train, test)}
        seconds += time.perf_counter() - began
        scores |= {name: rater_model(columns, style, train, test, v) for name, v in variants.items() if name != FULL}
        scores |= {f"dawid_skene({s:g})": confusion(columns, train, test, s) for s in SHRINKAGE}
        scores |= {f"majority({k:g})": shares(columns, train, test, k) for k in SMOOTHING}
        for name, values in scores.items():
            found.setdefault(name, np.zeros(len(fold_N)))[test] = values
        if not quiet:
            print(fold, {name: round(float(values.mean()), 4) for name, values in scores.items()}, file=sys.stderr)
    means = {name: float(values.mean()) for name, values in found.items()}
    result: dict[str, Any] = {
        "votes": len(fold_N),
        "pairs": len(columns.comparisons),
        "raters": len(columns.raters),
        "style": style.names,
        "rater_model_nats": means[FULL],
        "fit_s": round(seconds / FOLDS, 2),
    }
    stances = [str(columns.comparisons[i].prompt.meta["group"]) for i in columns.item_N]

    def difference(first: str, second: str) -> dict[str, Any]:
        return {
            by: bootstrap_paired(found[first], found[second], clusters, seed=0).model_dump()
            for by, clusters in (("pair", columns.item_N.tolist()), ("stance", stances))
        }

    baselines = {
        kind: max((name for name in means if name.startswith(kind)), key=means.__getitem__)
        for kind in ("dawid_skene", "majority")
    }
    for kind, best in baselines.items():
        result[kind] = {"best": best, "nats": means[best], "rater_model_minus_it": difference(FULL, best)}
    result["ablation"] = {
        name: {
            "nats": means[name],
            "rater_model_minus_it": difference(FULL, name)["stance"],
            **{f"it_minus_{kind}": difference(name, best)["stance"] for kind, best in baselines.items()},
        }
        for name in variants
        if name != FULL
    }
    result["apart"] = all(result[k]["rater_model_minus_it"]["stance"]["low"] > 0 for k in ("dawid_skene", "majority"))
    return result


def folds(item_N: np.ndarray) -> np.ndarray:
    """Which fold holds a vote out: the votes of each pair in an order drawn once."""
    rng = np.random.default_rng(0)
    order = np.lexsort((rng.random(len(item_N)), item_N))
    starts = np.flatnonzero(np.diff(item_N[order], prepend=-1))
    place = np.arange(len(item_N)) - np.repeat(starts, np.diff(np.append(starts, len(item_N))))
    fold_N = np.empty(len(item_N), dtype=np.intp)
    fold_N[order] = place % FOLDS
    return fold_N


def rater_model(
    columns: Columns, style: Style, train: np.ndarray, test: np.ndarray, variant: Variant = VARIANTS[FULL]
) -> np.ndarray:
    style_JK = style.style_JK[:, [name not in variant.without for name in style.names]]
    rater_N = columns.rater_N * (not variant.one_rater)
    left_N = columns.left_N * variant.position
    model = fit_rater_model(
        columns.item_N[train], rater_N[train], columns.answer_N[train], left_N[train], style_JK, n_raters=int(rater_N.max()) + 1
    )
    p = model.answer_probabilities(columns.item_N[test], rater_N[test], left_N[test], style_JK)
    return np.log(p[np.arange(len(p)), columns.answer_N[test] + 1])


def confusion(columns: Columns, train: np.ndarray, test: np.ndarray, shrinkage: float) -> np.ndarray:
    label = columns.answer_N + 1
    known = np.unique(columns.rater_N[train], return_inverse=True)
    number = np.full(len(columns.raters), -1)
    number[known[0]] = np.arange(len(known[0]))
    fit = dawid_skene(columns.item_N[train], known[1], label[train], 3, shrinkage=shrinkage)
    pooled = fit.counts_RLL.sum(axis=0)
    matrices = np.concatenate([fit.confusion_RLL, (pooled / pooled.sum(axis=1, keepdims=True))[None]])
    p = np.einsum("nk,nkl->nl", fit.posterior_IL[columns.item_N[test]], matrices[number[columns.rater_N[test]]])
    return np.log(p[np.arange(len(p)), label[test]])


def shares(columns: Columns, train: np.ndarray, test: np.ndarray, smoothing: float) -> np.ndarray:
    label = columns.answer_N + 1
    counts = np.zeros((len(columns.comparisons), 3))
    np.add.at(counts, (columns.item_N[train], label[train]), 1)
    overall = counts.sum(axis=0) / counts.sum()
    p = (counts + smoothing * overall) / (counts.sum(axis=1, keepdims=True) + smoothing)
    return np.log(p[columns.item_N[test], label[test]])


if __name__ == "__main__":
    main()
