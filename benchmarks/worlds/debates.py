"""Reward models of people's votes on arguments (UKPConvArg1), by held-out debate: the second half of `noise_aware`.

The recipe is configs/stories-ukp.toml: SFT on the preferred arguments, then the reward ensemble; pairs with an argument longer
than it trains on are left out, as the recipe does. Twelve debates lie in four folds; a fold's three are scored by a model that
saw pairs of the other nine.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import ROOT
from benchmarks.worlds import ukp
from benchmarks.worlds.reward_world import agreement, nats
from benchmarks.worlds.tally import Row
from truing.models.reward import RewardEnsemble, raw_scores
from truing.program.preferences import FreezeConfig, JudgedInputs, by_comparison, freeze_judged
from truing.program.recipe import Recipe
from truing.raters.config import How
from truing.records import Comparison, Demonstration, Guideline, Judgment, Message, NullProgress, PreferencePair, seed_for
from truing.stats.intervals import bootstrap_paired, mean_interval, wilson_clustered
from truing.store.artifacts import Store
from truing.store.files import read_records
from truing.train import reward, sft
from truing.train.examples import pair_examples

RECIPE = ROOT / "configs" / "stories-ukp.toml"
LABELS: tuple[How, ...] = ("majority", "rater_model")
PLAIN: How = "majority"
FOLDS = 4
SCORED = 1500
"""Held-out pairs of a fold that are scored, drawn at random."""


def work(folder: Path, pairs: int) -> dict[str, Callable[[], Row]]:
    """One reward model a fold of debates and way to make labels."""
    load = cache(partial(Debates.read, folder, pairs))
    return {f"ukp/fold-{fold}/{labels}": partial(trained, load, fold, labels) for fold in range(FOLDS) for labels in LABELS}


class Debates:
    """People's pairs and votes, and the recipe they are trained by."""

    def __init__(self, store: Store, pairs: int, comparisons: Sequence[Comparison], judgments: Sequence[Judgment]) -> None:
        self.store, self.pairs = store, pairs
        self.comparisons = [c for c in comparisons if c.first.strip() and c.second.strip() and c.first != c.second]
        self.judge = by_comparison(judgments)
        self.recipe = Recipe.load(RECIPE)
        names = sorted({debate_of(c) for c in self.comparisons})
        random.Random(0).shuffle(names)
        self._fold = {name: number % FOLDS for number, name in enumerate(names)}

    @classmethod
    def read(cls, folder: Path, pairs: int) -> Debates:
        """From beside the checkout."""
        return cls(Store(folder), pairs, *ukp.read_votes(ukp.DATA))

    def split(self, fold: int) -> tuple[list[Comparison], list[Comparison]]:
        """Pairs to train on, and pairs of the fold's debates whose votes take a side."""
        rng = random.Random(seed_for(fold, "debates"))
        rest = [c for c in self.comparisons if self._fold[debate_of(c)] != fold]
        held = [c for c in self.comparisons if self._fold[debate_of(c)] == fold and vote_share(self.judge(c)) != 0.5]
        return rng.sample(rest, min(self.pairs, len(rest))), rng.sample(held, min(SCORED, len(held)))

    def settings(self, fold: int) -> dict[str, Any]:
        """What a run fills in from the recipe."""
        return {
            "seed": fold,
            "load": self.recipe.model.load_settings().model_dump(),
            "chat_template": self.recipe.model.chat_template,
            "too_long": self.recipe.data.too_long,
        }

    def frozen(self, fold: int, train: Sequence[Comparison], labels: How) -> Path:
        """The preference set of one kind of label."""
        freeze = FreezeConfig(labels=labels, heldout_fraction=0.02, split_by="group", seed=fold)
        inputs = JudgedInputs(train, self.judge, Guideline(version=0, text=""), parents={})
        name = f"fold-{fold}/preferences-{labels}"
        return freeze_judged(freeze, inputs, self.store, name, resume=True, progress=NullProgress()).path

    def policy(self, fold: int, train: Sequence[Comparison]) -> Path:
        """SFT on what the majority prefers: the start of every reward model of the fold."""
        shown = [
            Demonstration(messages=(*pair.prompt.messages, Message(role="assistant", content=pair.chosen)))
            for pair in read_records(self.frozen(fold, train, PLAIN) / "train.jsonl", PreferencePair)
        ]
        inputs = sft.SFTInputs(model=str(self.recipe.model.path), demonstrations=shown)
        config = self.recipe.sft.with_changes(**self.settings(fold))
        return sft.run(config, inputs, self.store, f"fold-{fold}/sft", resume=True).path

    def reward(self, fold: int, train: Sequence[Comparison], labels: How) -> Path:
        """The reward ensemble of one kind of label."""
        inputs = reward.RewardInputs(model=self.policy(fold, train), preferences=self.frozen(fold, train, labels))
        config = self.recipe.reward.with_changes(**self.settings(fold), parallel=False)
        return reward.run(config, inputs, self.store, f"fold-{fold}/reward-{labels}", resume=True).path


def debate_of(comparison: Comparison) -> str:
    """The debate, both sides together."""
    return comparison.prompt.messages[0].content.split(": ")[0]


def vote_share(votes: Sequence[Judgment]) -> float:
    """Share of the votes for the first, ties half."""
    return float(np.mean([{"first": 1.0, "tie": 0.5, "second": 0.0}[vote.choice] for vote in votes]))


def trained(load: Callable[[], Debates], fold: int, labels: How) -> Row:
    """Train on the other folds; score this one's pairs by their votes."""
    known = load()
    train, held = known.split(fold)
    kept, p = p_first(known.reward(fold, train, labels), held, known.recipe.reward.max_tokens or 2**31)
    held = [held[row] for row in kept]
    share = np.array([vote_share(known.judge(c)) for c in held])
    longer = np.array([(1 + np.sign(len(c.first) - len(c.second))) / 2 for c in held])
    majority = (share > 0.5).astype(float)
    return {
        "fold": fold,
        "labels": labels,
        "stances": [str(c.prompt.meta["group"]) for c in held],
        "right": agreement(p, majority).tolist(),
        "nats": nats(p, share).round(4).tolist(),
        "longer": agreement(longer, majority).tolist(),
    }


def p_first(model: Path, comparisons: Sequence[Comparison], max_tokens: int) -> tuple[list[int], np.ndarray]:
    """Which pairs fit, as in training, and the ensemble's P(first preferred) of them."""
    ensemble = RewardEnsemble.load(model)
    pairs = [
        PreferencePair(comparison_id=c.comparison_id, prompt=c.prompt, chosen=c.first, rejected=c.second) for c in comparisons
    ]
    fitted = pair_examples(ensemble.tokenizer, pairs, max_tokens, "truncate_left")
    sequences = [pair.chosen.tokens for pair in fitted.items] + [pair.rejected.tokens for pair in fitted.items]
    margins = [raw_scores(member, sequences).view(2, -1).numpy() for member in ensemble.members]
    return fitted.kept, np.mean([1 / (1 + np.exp(second - first)) for first, second in margins], axis=0)


def summary(rows: Sequence[Row]) -> Row:
    """All folds' held-out pairs together, clustered by debates' sides; length is the same for every kind of label."""
    plain = _pooled(rows, PLAIN)
    found: Row = {"pairs": len(plain["right"]), "longer": wilson_clustered(plain["longer"], plain["stances"]).model_dump()}
    for labels in LABELS:
        pooled = _pooled(rows, labels)
        stances = pooled["stances"]
        found[labels] = {
            "accuracy": wilson_clustered(pooled["right"], stances).model_dump(),
            "nats": mean_interval(pooled["nats"], stances).model_dump(),
            "accuracy_minus_longer": bootstrap_paired(pooled["right"], pooled["longer"], stances).model_dump(),
        }
        for name, each in (("accuracy", "right"), ("nats", "nats")) if labels != PLAIN else ():
            found[labels][f"{name}_minus_majority"] = bootstrap_paired(pooled[each], plain[each], stances).model_dump()
    return found


def _pooled(rows: Sequence[Row], labels: How) -> Row:
    some = [row for row in rows if row["labels"] == labels]
    return {name: [value for row in some for value in row[name]] for name in ("right", "nats", "longer", "stances")}
