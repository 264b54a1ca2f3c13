"""One function a stage, wiring the rooms together: what `truing run` and the single-stage verbs both call.

Each returns the stage's artifact, made now or found finished. Which stage follows which is `rounds`' business alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from truing.evals import evaluate as evaluation
from truing.evals.adapters import ensemble_scorer, policy_generator, policy_sampler, world_gold
from truing.evals.config import EvaluateConfig
from truing.judges.simulated import Workforce
from truing.models.load import load_policy
from truing.models.reward import RewardEnsemble
from truing.monitor import reward_tests as reward_testing
from truing.monitor import watch
from truing.monitor.observer import Monitor
from truing.monitor.reward_cases import RewardTestCase, cases_from_pairs, world_cases
from truing.program import comparisons as comparing
from truing.program import embedded, materials, preferences, selecting
from truing.program.bench import Bench, model_hash
from truing.program.judged import is_judged, read_folder, read_judgments
from truing.program.people import judged_by_service
from truing.program.recipe import EMBEDDED, StageName
from truing.program.speak import Speaker
from truing.records import Comparison, Guideline, PreferencePair, Prompt, content_hash
from truing.redteam import campaign
from truing.redteam.config import RedTeamConfig
from truing.rollout.config import EngineConfig
from truing.rollout.sampler import SamplingSettings
from truing.selection.config import SelectionConfig
from truing.store.artifacts import Artifact
from truing.store.files import read_records
from truing.train import dpo as dpo_training
from truing.train import grpo as grpo_training
from truing.train import ppo as ppo_training
from truing.train import reward as reward_training
from truing.train import rloo as rloo_training
from truing.train import sft as sft_training
from truing.train.config import RLConfig
from truing.train.rl_inputs import RLInputs


def sft(bench: Bench, preference_set: Path | None = None) -> Artifact:
    """Imitate demonstrations, starting from the base model."""
    base = bench.base
    inputs = sft_training.SFTInputs(model=base, demonstrations=materials.demonstrations(bench, preference_set))
    with bench.stage("sft") as progress:
        config = bench.settle(bench.recipe.sft, "sft")
        return sft_training.run(config, inputs, bench.store, "sft", resume=bench.resume, progress=progress)


def preference_set_from_file(bench: Bench) -> Artifact:
    """Freeze people's judged pairs, or the judgments of a judgment set."""
    source = bench.recipe.data.comparisons or ""
    if is_judged(Path(source)):
        return _preference_set_of(bench, Path(source))
    inputs = preferences.FileInputs(
        pairs=materials.judged_pairs(bench),
        source=Path(source).name,
        guideline=materials.first_guideline(bench),
        parents={"comparisons": model_hash(source)},
    )
    name = bench.name("preferences")
    with bench.stage(name):
        return preferences.freeze_pairs(_freeze_config(bench), inputs, bench.store, name, resume=bench.resume)


def _preference_set_of(bench: Bench, folder: Path) -> Artifact:
    found = read_folder(folder)
    inputs = preferences.JudgedInputs(
        comparisons=found.comparisons,
        judge=preferences.by_comparison(found.judgments),
        guideline=found.guideline or materials.first_guideline(bench),
        parents={"judgments": model_hash(folder)},
        versions=found.versions,
        notes=found.notes,
    )
    name = bench.name("preferences")
    with bench.stage(name) as progress:
        return preferences.freeze_judged(_freeze_config(bench), inputs, bench.store, name, resume=bench.resume, progress=progress)


def sampled_comparisons(
    bench: Bench, policies: Mapping[str, str], preference_set: Path | None, findings: Artifact | None, count: int
) -> Artifact:
    """Sample `count` pairs of answers that raters could compare. `findings` are the last round's."""
    config = bench.complete(bench.recipe.preferences)
    prompts = materials.train_prompts(bench, preference_set)
    parents = {f"policy:{label}": model_hash(path) for label, path in policies.items()}
    inputs = comparing.ComparisonInputs(
        policies=policies,
        prompts=prompts,
        parents=parents | {"prompts": _hash(prompts)} | ({"findings": findings.artifact_hash} if findings else {}),
        targeted_prompts=_targeted_prompts(findings),
        targeted_pairs=read_records(findings.path / "targeted_pairs.jsonl", Comparison) if findings else (),
        load=bench.load,
        chat_template=bench.chat_template,
    )
    settings = comparing.ComparisonsConfig(
        count=count,
        targeted_fraction=config.targeted_fraction,
        sampling=SamplingSettings(temperature=config.temperature, max_new_tokens=config.max_new_tokens),
        engine=config.engine,
        seed=bench.seed("comparisons", bench.number),
    )
    name = bench.name("comparisons")
    with bench.stage(name) as progress:
        return comparing.run(settings, inputs, bench.store, name, resume=bench.resume, progress=progress)


def selected_comparisons(bench: Bench, pool: Artifact, ensemble: Path) -> Artifact:
    """Draw those that are to be judged from the pool, by the recipe's strategy and what the last round's reward model says."""
    config = bench.recipe.preferences
    settings = SelectionConfig(
        budget=config.comparisons,
        strategy=config.selection.strategy,
        uniform_share=config.selection.uniform_share,
        seed=bench.seed("selection", bench.number),
    )
    files = selecting.PoolFiles(pool.path / "comparisons.jsonl", reward=ensemble, load=bench.load)
    parents = {"comparisons": pool.artifact_hash, "reward": model_hash(ensemble)}
    name = bench.name("selection")
    with bench.stage(name):
        return selecting.run(settings, files, parents, bench.store, name, resume=bench.resume)


def judged_preferences(bench: Bench, compared: Artifact, guideline: Guideline, earlier: Path | None) -> Artifact:
    """Have sampled comparisons judged, by simulated raters or by the people whose judgments the recipe names."""
    config = bench.recipe.preferences
    rows = read_records(compared.path / "comparisons.jsonl", Comparison)
    parents = {"comparisons": compared.artifact_hash, "guideline": guideline.guideline_hash}
    parents |= {"earlier": model_hash(earlier)} if earlier else {}
    if config.judged_by == "simulated":
        workforce = Workforce.draw(
            guideline, bench.seed("raters"), raters=config.raters, judgments_per_comparison=config.judgments_per_comparison
        )
        inputs = preferences.JudgedInputs(
            rows, workforce.judge, guideline, parents, expected=workforce.expected_preference, earlier=earlier
        )
    else:
        path = _people_judgments(bench, compared, rows, guideline)
        judgments, versions = read_judgments(path)
        judged = preferences.by_comparison(judgments)
        parents |= {"judgments": model_hash(path)}
        inputs = preferences.JudgedInputs(rows, judged, guideline, parents, earlier=earlier, versions=versions)
    name = bench.name("preferences")
    with bench.stage(name) as progress:
        return preferences.freeze_judged(_freeze_config(bench), inputs, bench.store, name, resume=bench.resume, progress=progress)


def _people_judgments(bench: Bench, compared: Artifact, rows: Sequence[Comparison], guideline: Guideline) -> Path:
    config = bench.recipe.preferences
    if config.service is None:
        return preferences.people_judgments(config.judgments, compared.path / "comparisons.jsonl")
    folder = bench.store.root / bench.name("judgments")
    return judged_by_service(config, rows, guideline, folder, bench.watch.say)


def reward(bench: Bench, policy: str, preference_set: Path) -> Artifact:
    """Train the reward-model ensemble, starting from the SFT policy."""
    name = bench.name("reward")
    with bench.stage(name) as progress:
        inputs = reward_training.RewardInputs(model=policy, preferences=preference_set)
        config = bench.settle(bench.recipe.reward, "reward")
        return reward_training.run(config, inputs, bench.store, name, resume=bench.resume, progress=progress)


def reward_tests(bench: Bench, ensemble: Path, preference_set: Path) -> Artifact:
    """Unit tests of the reward model, before any RL."""
    config = bench.recipe.monitor.reward_tests
    cases = _test_cases(bench, preference_set)
    name = bench.name("reward_tests")
    with bench.stage(name) as progress:
        parents = {"reward": model_hash(ensemble), "preferences": model_hash(preference_set)}
        inputs = reward_testing.RewardTestInputs(cases=cases, scorer=_scorer(bench, ensemble), parents=parents)
        tested = reward_testing.run(config, inputs, bench.store, name, resume=bench.resume)
        progress.update(len(cases), len(cases), {"tests": len(tested.manifest.metrics)})
        return tested


def ppo(bench: Bench, policy: str, ensemble: Path, preference_set: Path | None, findings: Artifact | None = None) -> Artifact:
    """PPO against the reward model under a KL penalty to `policy`, with the monitor watching."""
    return _rl(bench, "ppo", bench.recipe.ppo, ppo_training.run, policy, ensemble, preference_set, findings)


def grpo(bench: Bench, policy: str, ensemble: Path, preference_set: Path | None, findings: Artifact | None = None) -> Artifact:
    """GRPO, as `ppo`."""
    return _rl(bench, "grpo", bench.recipe.grpo, grpo_training.run, policy, ensemble, preference_set, findings)


def rloo(bench: Bench, policy: str, ensemble: Path, preference_set: Path | None, findings: Artifact | None = None) -> Artifact:
    """RLOO, as `ppo`."""
    return _rl(bench, "rloo", bench.recipe.rloo, rloo_training.run, policy, ensemble, preference_set, findings)


RL: Mapping[StageName, Callable[[Bench, str, Path, Path | None, Artifact | None], Artifact]] = {
    "ppo": ppo,
    "grpo": grpo,
    "rloo": rloo,
}
"""Stages that train a policy on what it samples, by name."""


def _rl(
    bench: Bench,
    stage: StageName,
    config: RLConfig,
    train: Callable[..., Artifact],
    policy: str,
    ensemble: Path,
    preference_set: Path | None,
    findings: Artifact | None,
) -> Artifact:
    """The last round's `findings` add their targeted prompts to the training prompts."""
    inputs = RLInputs(
        policy=policy,
        reward=ensemble,
        prompts=[*materials.train_prompts(bench, preference_set), *_targeted_prompts(findings)],
        demonstrations=materials.demonstrations(bench, preference_set) if config.ptx_coefficient else None,
        watched_by=content_hash(bench.recipe.monitor.model_dump(mode="json")),
    )
    name = bench.name(stage)
    with bench.stage(name) as progress:
        return train(
            bench.settle(config, stage),
            inputs,
            bench.store,
            name,
            resume=bench.resume,
            progress=progress,
            observer=Monitor(bench.recipe.monitor),
            gold=embedded.gold_scalar if bench.recipe.data.gold == EMBEDDED else None,
        )


def monitor(bench: Bench, policy: Artifact, label: str) -> Artifact:
    """Leave every signal that the monitor saw during a policy's training, update by update."""
    name = bench.name(f"monitor/{label}")
    with bench.stage(name):
        inputs = watch.WatchInputs(rollouts=policy.path / "rollouts.jsonl", parents={label: policy.artifact_hash})
        return watch.run(bench.recipe.monitor, inputs, bench.store, name, resume=bench.resume)


def dpo(bench: Bench, policy: str, preference_set: Path) -> Artifact:
    """Train on the pairs directly."""
    name = bench.name("dpo")
    with bench.stage(name) as progress:
        inputs = dpo_training.DPOInputs(model=policy, preferences=preference_set)
        config = bench.settle(bench.recipe.dpo, "dpo")
        return dpo_training.run(config, inputs, bench.store, name, resume=bench.resume, progress=progress)


def redteam(bench: Bench, label: str, policy: str) -> Artifact:
    """Attack one policy (`label` empty: the only one). Every policy meets the same attacks."""
    config = bench.settle_measuring(bench.recipe.redteam, "redteam")
    name = bench.name(f"redteam/{label}" if label else "redteam")
    with bench.stage(name) as progress, ExitStack() as opened:
        generate = _generator(bench, policy, config, opened)
        inputs = campaign.RedTeamInputs(generate=generate, parents={"policy": model_hash(policy)})
        return campaign.run(config, inputs, bench.store, name, resume=bench.resume, progress=progress)


def evaluate(
    bench: Bench,
    label: str,
    policy: str,
    *,
    reference: str | None = None,
    ensemble: Path | None = None,
    preference_set: Path | None = None,
) -> Artifact:
    """Measure one policy on held-out prompts: proxy, KL to the reference, and gold where a rule is known."""
    config = bench.settle_measuring(bench.recipe.evaluate, "evaluate")
    prompts = materials.eval_prompts(bench, preference_set)
    parents = {"policy": model_hash(policy), "prompts": _hash(prompts)}
    parents |= {"reward": model_hash(ensemble)} if ensemble else {}
    parents |= {"reference": model_hash(reference)} if reference else {}
    name = bench.name(f"evaluate/{label}" if label else "evaluate")
    with bench.stage(name) as progress, ExitStack() as opened:
        inputs = evaluation.EvaluateInputs(
            prompts=prompts,
            sample=_sampler(bench, policy, reference, config, opened),
            parents=parents,
            scorer=_scorer(bench, ensemble) if ensemble else None,
            gold=world_gold() if bench.recipe.data.gold == EMBEDDED else None,
        )
        return evaluation.run(config, inputs, bench.store, name, resume=bench.resume, progress=progress)


def training_cases(bench: Bench, preference_set: Path) -> list[RewardTestCase]:
    """Good and bad answers on the training side, from which counterfactual pairs for raters are made."""
    if bench.recipe.data.gold == EMBEDDED:
        return embedded.training_cases(materials.train_prompts(bench, preference_set), bench.seed("training_cases"))
    pairs = read_records(preference_set / "train.jsonl", PreferencePair)
    return cases_from_pairs(pairs, bench.recipe.monitor.reward_tests, bench.recipe.monitor.markers.refusal)


def _targeted_prompts(findings: Artifact | None) -> list[Prompt]:
    return read_records(findings.path / "targeted_prompts.jsonl", Prompt) if findings else []


def _test_cases(bench: Bench, preference_set: Path) -> list[RewardTestCase]:
    if bench.recipe.data.gold == EMBEDDED:
        return world_cases(bench.recipe.data.n_eval_prompts, bench.seed("reward_tests") % 2**31)
    pairs = read_records(preference_set / "heldout.jsonl", PreferencePair)
    return cases_from_pairs(pairs, bench.recipe.monitor.reward_tests, bench.recipe.monitor.markers.refusal)


def _freeze_config(bench: Bench) -> preferences.FreezeConfig:
    data, config = bench.recipe.data, bench.recipe.preferences
    from_file = data.comparisons is not None
    return preferences.FreezeConfig(
        heldout_fraction=data.heldout_fraction,
        split_by=data.split_by,
        superseded_weight=config.superseded_weight,
        labels=config.labels,
        raters=config.raters if config.judged_by == "simulated" and not from_file else None,
        judgments_per_comparison=config.judgments_per_comparison,
        max_pairs=data.max_rows if from_file else None,
        without_guidelines=config.without_guidelines,
        without_raters=config.without_raters,
        seed=bench.seed("preferences"),
    )


def _hash(prompts: Sequence[Prompt]) -> str:
    return content_hash([p.model_dump(mode="json") for p in prompts])


def _speaker(bench: Bench, policy: str, engine: EngineConfig, opened: ExitStack) -> Speaker:
    """A policy to sample from until `opened` is closed; what the user should know of how it runs is said."""
    speaker = opened.enter_context(closing(Speaker.load(policy, bench.load, bench.chat_template, engine)))
    if speaker.notice is not None:
        bench.watch.say(speaker.notice)
    return speaker


def _generator(bench: Bench, policy: str, config: RedTeamConfig, opened: ExitStack) -> campaign.Generate:
    """The policy as the red team calls it, loaded at the first call."""

    @cache
    def loaded() -> campaign.Generate:
        sampler = _speaker(bench, policy, config.engine, opened).sampler
        settings = SamplingSettings(temperature=config.temperature, max_new_tokens=config.max_new_tokens)
        return policy_generator(sampler, sampler.tokenizer, settings, config.seed)

    def generate(prompts: Sequence[Prompt]) -> list[str]:
        return loaded()(prompts)

    return generate


def _sampler(
    bench: Bench, policy: str, reference: str | None, config: EvaluateConfig, opened: ExitStack
) -> evaluation.SamplePolicy:
    """The policy as the evaluation calls it, loaded at the first call."""

    @cache
    def loaded() -> evaluation.SamplePolicy:
        sampler = _speaker(bench, policy, config.engine, opened).sampler
        settings = SamplingSettings(temperature=config.temperature, max_new_tokens=config.max_new_tokens)
        against = load_policy(reference, bench.load) if reference else None
        return policy_sampler(sampler, sampler.tokenizer, settings, config.samples_per_prompt, config.seed, against)

    def sample(prompts: Sequence[Prompt]) -> list[list[evaluation.Sample]]:
        return loaded()(prompts)

    return sample


def _scorer(bench: Bench, ensemble: Path) -> evaluation.Scorer:
    """The reward model as tests and evaluations call it, loaded at the first call."""

    @cache
    def loaded() -> evaluation.Scorer:
        return ensemble_scorer(RewardEnsemble.load(ensemble, bench.load))

    def score(answers: Sequence[tuple[Prompt, str]]) -> NDArray[np.float64]:
        return loaded()(answers)

    return score
