"""What experiments on preferences share: an assistant in the embedded world, its answers, its raters, and reward models of them.

Everything is made as `truing quickstart` makes it, by the same stages and settings. Raters are simulated.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from truing.evals.pair_scores import score_pairs
from truing.judges.simulated import Workforce
from truing.models.reward import RewardEnsemble
from truing.program.amendments import CLAUSES
from truing.program.comparisons import ComparisonInputs, ComparisonsConfig
from truing.program.comparisons import run as sample
from truing.program.materials import GUIDELINE
from truing.program.preferences import FreezeConfig, Judge, JudgedInputs, freeze_judged
from truing.program.recipe import Recipe
from truing.raters.config import How
from truing.records import Comparison, Guideline, NullProgress, Prompt, seed_for
from truing.rollout.sampler import SamplingSettings
from truing.store.artifacts import Store
from truing.store.files import read_records
from truing.train import reward, sft
from truing.train.config import RewardConfig
from truing.train.session import parent_hash
from truing.world import gold
from truing.world.assets import base_model_path
from truing.world.demonstrations import make_demonstrations
from truing.world.prompts import make_prompts

RECIPE = Recipe.load("quickstart")


class World(NamedTuple):
    """One seed's assistant, and answers of its to training and to held-out prompts."""

    seed: int
    store: Store
    policy: Path
    pool: list[Comparison]
    heldout: list[Comparison]
    """Pairs that the gold rule does not call equal, on prompts of the evaluation split."""

    @classmethod
    def make(cls, folder: Path, seed: int, *, pool: int, heldout: int) -> World:
        """SFT and sampling; what a killed run had finished is taken as it is."""
        store = Store(folder)
        config = RECIPE.sft.with_changes(seed=seed, load=RECIPE.model.load_settings().model_dump())
        shown = make_demonstrations(RECIPE.data.n_demonstrations, seed)
        inputs = sft.SFTInputs(model=base_model_path(), demonstrations=shown)
        policy = sft.run(config, inputs, store, "sft", resume=True).path
        asked = make_prompts(RECIPE.data.n_prompts, seed, "train")
        compared = _answers(store, "pool", seed, policy, asked, pool)
        unseen = _answers(store, "heldout", seed, policy, make_prompts(heldout // 3, seed, "eval"), heldout)
        return cls(seed, store, policy, compared, [c for c in unseen if gold_gap(c) != 0])


def _answers(store: Store, name: str, seed: int, policy: Path, prompts: Sequence[Prompt], count: int) -> list[Comparison]:
    settings = SamplingSettings(temperature=1.0, max_new_tokens=RECIPE.preferences.max_new_tokens)
    config = ComparisonsConfig(count=count, sampling=settings, seed=seed_for(seed, name) % 2**31)
    inputs = ComparisonInputs(policies={"sft": str(policy)}, prompts=prompts, parents={"policy": parent_hash(policy)})
    return read_records(sample(config, inputs, store, name, resume=True).path / "comparisons.jsonl", Comparison)


def gold_gap(comparison: Comparison) -> float:
    """What the gold rule gives the first answer above the second."""
    first, second = (gold.score(comparison.prompt, text).scalar for text in (comparison.first, comparison.second))
    return round(first - second, 9)


def guided() -> Guideline:
    """The guideline with every clause that the loop can propose: it leaves raters a tenth of their biases."""
    text = Guideline(version=1, text=GUIDELINE.read_text(encoding="utf-8"))
    for clause, proposed in CLAUSES.items():
        text = text.amended(clause, proposed.title, proposed.body)
    return text


def unguided() -> Guideline:
    """The guideline that the quickstart begins with: most raters like length, flattery and agreement, which gold does not."""
    return Guideline(version=1, text=GUIDELINE.read_text(encoding="utf-8"))


def workforce(world: World, guideline: Guideline, judgments_per_comparison: int = 1) -> Workforce:
    """The quickstart's number of raters."""
    return Workforce.draw(
        guideline, world.seed, raters=RECIPE.preferences.raters, judgments_per_comparison=judgments_per_comparison
    )


class Fitted(NamedTuple):
    """Where a trained reward model lies, and the preference set it was trained on."""

    reward: Path
    preferences: Path


def fit(
    world: World, name: str, comparisons: Sequence[Comparison], judge: Judge, guideline: Guideline, labels: How = "majority"
) -> Fitted:
    """Freeze judgments of the comparisons and train the quickstart's reward ensemble on them, each by its stage."""
    freeze = FreezeConfig(labels=labels, heldout_fraction=0.05, raters=RECIPE.preferences.raters, seed=world.seed)
    inputs = JudgedInputs(comparisons, judge, guideline, parents={})
    frozen = freeze_judged(freeze, inputs, world.store, f"{name}/preferences", resume=True, progress=NullProgress())
    config: RewardConfig = RECIPE.reward.with_changes(
        seed=world.seed, parallel=False, load=RECIPE.model.load_settings().model_dump()
    )
    trained = reward.run(config, reward.RewardInputs(world.policy, frozen.path), world.store, f"{name}/reward", resume=True)
    return Fitted(trained.path, frozen.path)


def forget(world: World, name: str) -> None:
    """Remove what `fit` made under a name, once it is measured."""
    shutil.rmtree(world.store.root / name)


def p_first(model: Path, comparisons: Sequence[Comparison]) -> np.ndarray:
    """The ensemble's P(first preferred), the mean of its members'."""
    rows = score_pairs(RewardEnsemble.load(model), comparisons, features=False)
    return (1 / (1 + np.exp(-np.array([row.margins for row in rows])))).mean(axis=1)


def agreement(p: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Whether the model's side is the target's, where that is 0 or 1; else the probability that it is. A toss-up counts half."""
    return np.where(p == 0.5, 0.5, np.where(p > 0.5, target, 1 - target))


def nats(p: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Expected log-likelihood of the target under the model."""
    return target * np.log(p) + (1 - target) * np.log1p(-p)


def by_gold(comparisons: Sequence[Comparison]) -> np.ndarray:
    """1 where gold prefers the first answer, 0 the second."""
    return np.array([float(gold_gap(c) > 0) for c in comparisons])


def by_raters(comparisons: Sequence[Comparison], expected: Callable[[Comparison], float]) -> np.ndarray:
    """P(a fresh judgment prefers the first): agreement with it is what fresh judgments would give without end."""
    return np.array([expected(c) for c in comparisons])
