"""One stage alone, from a recipe or from the flags of its verb."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from truing.errors import TruingError
from truing.program import materials, stages
from truing.program.bench import Bench, resolve_model
from truing.program.progress import PlainView, View, Watch, view_for_terminal
from truing.program.recipe import Recipe, StageName
from truing.program.rounds import use_threads
from truing.store.artifacts import Artifact, Store


def run_stage(
    stage: str,
    recipe: str | Path | None,
    overrides: Sequence[str],
    values: Mapping[str, Any],
    *,
    out: str | Path | None = None,
    resume: bool = False,
    watch: bool = False,
) -> Artifact:
    """Run `stage` (a verb's name) and return its artifact. `values` are the verb's flags by recipe key; None = not given."""
    settings = load_recipe(recipe, overrides, values)
    store = Store(out or settings.run.out)
    lock = store.lock()
    try:
        view: View = view_for_terminal() if watch else PlainView(lambda _: None)
        with Watch(store.root, view, planned=planned_stages(stage, settings)) as watcher:
            use_threads(settings.run.threads)
            return STAGES[stage](Bench(settings, store, watcher, resume, in_rounds=False))
    finally:
        lock.release()


def planned_stages(stage: str, recipe: Recipe) -> int:
    """How many stages a verb takes: a file of judged pairs, or a judgment set, is made a preference set first."""
    if stage == "preferences":
        return 1 if recipe.data.comparisons else 2
    return 2 if recipe.data.comparisons and not recipe.start_from.preferences and stage != "redteam" else 1


def load_recipe(recipe: str | Path | None, overrides: Sequence[str], values: Mapping[str, Any]) -> Recipe:
    """The recipe named (its first round), or the defaults, with a verb's flags and then `--set` on top."""
    flags = [f"{key}={json.dumps(value)}" for key, value in values.items() if value not in (None, [])]
    wanted = [*flags, *overrides]
    loaded = Recipe.load(recipe, wanted) if recipe is not None else Recipe.from_values({}, wanted, where="--set")
    return loaded.with_judgments_frozen_anew().for_round(1)


def _sft(bench: Bench) -> Artifact:
    return stages.sft(bench, _preference_set(bench))


def _reward_model(bench: Bench) -> Artifact:
    return stages.reward(bench, _policy(bench), _required_set(bench))


def _dpo(bench: Bench) -> Artifact:
    return stages.dpo(bench, _policy(bench), _required_set(bench))


def _rl(bench: Bench, stage: StageName) -> Artifact:
    if bench.recipe.start_from.reward is None:
        raise TruingError("no reward model: give --reward DIR (a finished reward-model artifact)")
    return stages.RL[stage](bench, _policy(bench), Path(bench.recipe.start_from.reward), _preference_set(bench), None)


def _redteam(bench: Bench) -> Artifact:
    return stages.redteam(bench, "", bench.base)


def _evaluate(bench: Bench) -> Artifact:
    ensemble = Path(bench.recipe.start_from.reward) if bench.recipe.start_from.reward else None
    return stages.evaluate(bench, "", bench.base, ensemble=ensemble, preference_set=_preference_set(bench))


def _preferences(bench: Bench) -> Artifact:
    if bench.recipe.data.comparisons:
        return stages.preference_set_from_file(bench)
    compared = stages.sampled_comparisons(bench, {"sft": _policy(bench)}, None, None, bench.recipe.preferences.comparisons)
    return stages.judged_preferences(bench, compared, materials.first_guideline(bench), None)


def _policy(bench: Bench) -> str:
    """The policy that a stage starts from: what --model names."""
    given = bench.recipe.start_from.sft
    return resolve_model(given) if given else bench.base


def _preference_set(bench: Bench) -> Path | None:
    if bench.recipe.start_from.preferences:
        return Path(bench.recipe.start_from.preferences)
    return stages.preference_set_from_file(bench).path if bench.recipe.data.comparisons else None


def _required_set(bench: Bench) -> Path:
    found = _preference_set(bench)
    if found is None:
        raise TruingError("no preferences: give --comparisons FILE, or --preferences DIR (a finished preference set)")
    return found


STAGES: Mapping[str, Callable[[Bench], Artifact]] = {
    "sft": _sft,
    "preferences": _preferences,
    "reward": _reward_model,
    "dpo": _dpo,
    **{stage: partial(_rl, stage=stage) for stage in stages.RL},
    "redteam": _redteam,
    "evaluate": _evaluate,
}
"""The verbs that run one stage."""
