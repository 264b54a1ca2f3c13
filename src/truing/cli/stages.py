"""Verbs that run one stage alone. Each is a recipe with that stage only, so `--set` keys are the recipe's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from truing.cli.options import (
    AsJson,
    Comparisons,
    Demonstrations,
    Labels,
    Model,
    Out,
    PreferenceSet,
    Prompts,
    RecipeFile,
    Resume,
    RewardModel,
    Set,
    WithoutGuideline,
    WithoutRater,
)

PolicyArgument = Annotated[str, typer.Argument(metavar="MODEL", help="Model folder, artifact, hub id, or 'embedded'.")]


def sft(
    model: Model = None,
    demonstrations: Demonstrations = None,
    recipe: RecipeFile = None,
    out: Out = None,
    set_: Set = None,
    resume: Resume = False,
    json: AsJson = False,
) -> None:
    """Train a model to imitate demonstrations."""
    _alone("sft", recipe, out, set_, {"model.path": model, "data.demonstrations": demonstrations}, resume=resume, json=json)


def preferences(
    model: Model = None,
    comparisons: Comparisons = None,
    prompts: Prompts = None,
    without_guideline: WithoutGuideline = None,
    without_rater: WithoutRater = None,
    labels: Labels = None,
    recipe: RecipeFile = None,
    out: Out = None,
    set_: Set = None,
    resume: Resume = False,
    json: AsJson = False,
) -> None:
    """Freeze a preference set: from judged pairs in a file, or by sampling pairs and having them judged."""
    values: dict[str, Any] = {
        "start_from.sft": model,
        "data.comparisons": comparisons,
        "data.prompts": prompts,
        "preferences.labels": labels,
    }
    values |= _without(without_guideline, without_rater)
    _alone("preferences", recipe, out, set_, values, resume=resume, json=json)


def reward(
    model: Model = None,
    comparisons: Comparisons = None,
    preferences: PreferenceSet = None,
    without_guideline: WithoutGuideline = None,
    without_rater: WithoutRater = None,
    recipe: RecipeFile = None,
    out: Out = None,
    set_: Set = None,
    resume: Resume = False,
    json: AsJson = False,
) -> None:
    """Train a reward-model ensemble on judged pairs."""
    values: dict[str, Any] = {"start_from.sft": model, "data.comparisons": comparisons, "start_from.preferences": preferences}
    values |= _without(without_guideline, without_rater)
    _alone("reward", recipe, out, set_, values, resume=resume, json=json)


def dpo(
    model: Model = None,
    comparisons: Comparisons = None,
    preferences: PreferenceSet = None,
    without_guideline: WithoutGuideline = None,
    without_rater: WithoutRater = None,
    recipe: RecipeFile = None,
    out: Out = None,
    set_: Set = None,
    resume: Resume = False,
    json: AsJson = False,
) -> None:
    """Train a policy on judged pairs directly."""
    values: dict[str, Any] = {"start_from.sft": model, "data.comparisons": comparisons, "start_from.preferences": preferences}
    values |= _without(without_guideline, without_rater)
    _alone("dpo", recipe, out, set_, values, resume=resume, json=json)


def ppo(
    model: Model = None,
    reward: RewardModel = None,
    prompts: Prompts = None,
    recipe: RecipeFile = None,
    out: Out = None,
    set_: Set = None,
    resume: Resume = False,
    json: AsJson = False,
) -> None:
    """Train a policy against a reward model, with a KL penalty to where it started."""
    values: dict[str, Any] = {"start_from.sft": model, "start_from.reward": reward, "data.prompts": prompts}
    _alone("ppo", recipe, out, set_, values, resume=resume, json=json)


def grpo(
    model: Model = None,
    reward: RewardModel = None,
    prompts: Prompts = None,
    recipe: RecipeFile = None,
    out: Out = None,
    set_: Set = None,
    resume: Resume = False,
    json: AsJson = False,
) -> None:
    """Train a policy against a reward model with each prompt's samples as their own baseline (GRPO)."""
    values: dict[str, Any] = {"start_from.sft": model, "start_from.reward": reward, "data.prompts": prompts}
    _alone("grpo", recipe, out, set_, values, resume=resume, json=json)


def rloo(
    model: Model = None,
    reward: RewardModel = None,
    prompts: Prompts = None,
    recipe: RecipeFile = None,
    out: Out = None,
    set_: Set = None,
    resume: Resume = False,
    json: AsJson = False,
) -> None:
    """Train a policy against a reward model with a leave-one-out baseline (RLOO)."""
    values: dict[str, Any] = {"start_from.sft": model, "start_from.reward": reward, "data.prompts": prompts}
    _alone("rloo", recipe, out, set_, values, resume=resume, json=json)


def redteam(
    model: PolicyArgument,
    recipe: RecipeFile = None,
    out: Out = None,
    set_: Set = None,
    resume: Resume = False,
    json: AsJson = False,
) -> None:
    """Attack a policy and report how often each kind of attack works."""
    _alone("redteam", recipe, out, set_, {"model.path": model}, resume=resume, json=json)


def evaluate(
    model: PolicyArgument,
    reward: RewardModel = None,
    prompts: Prompts = None,
    recipe: RecipeFile = None,
    out: Out = None,
    set_: Set = None,
    resume: Resume = False,
    json: AsJson = False,
) -> None:
    """Measure a policy on held-out prompts."""
    values = {"model.path": model, "start_from.reward": reward, "data.prompts": prompts}
    _alone("evaluate", recipe, out, set_, values, resume=resume, json=json)


def _without(guidelines: list[str] | None, raters: list[str] | None) -> dict[str, Any]:
    return {"preferences.without_guidelines": guidelines, "preferences.without_raters": raters}


def _alone(
    stage: str,
    recipe: str | None,
    out: Path | None,
    overrides: list[str] | None,
    values: dict[str, Any],
    *,
    resume: bool,
    json: bool,
) -> None:
    from truing.cli.output import print_artifact
    from truing.program.single import run_stage

    artifact = run_stage(stage, recipe, overrides or [], values, out=out, resume=resume, watch=True)
    print_artifact(artifact, as_json=json)
