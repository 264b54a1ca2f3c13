"""The loop. Only this module knows the order of stages.

    from truing.program.recipe import Recipe
    from truing.program.rounds import run

    result = run(Recipe.load("quickstart"), out="runs/first")

A round: comparisons and preferences, reward model and its tests, policies (DPO, PPO, GRPO, RLOO), red team and evaluation of
every policy, findings, gate. What round N finds goes into round N + 1's comparisons and guideline. Every stage is an artifact, so
a killed run goes on with the first stage that is not finished.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from truing.errors import TruingError
from truing.program import evidence, findings, materials, release, sign_off, stages, verdict
from truing.program.bench import Bench, adopt, resolve_model
from truing.program.lineage import RUN_RECORD
from truing.program.progress import PlainView, View, Watch, view_for_terminal
from truing.program.recipe import POLICY_STAGES, RL_STAGES, Recipe, StageName
from truing.program.summary import table
from truing.records import Guideline
from truing.store.artifacts import MANIFEST, Artifact, Store
from truing.store.files import write_json


@dataclass(frozen=True)
class RunResult:
    """A finished run: where it is, what changed (a table as text), and what the last round's gate decided (None = no gate)."""

    root: Path
    summary: str
    decision: str | None


@dataclass
class Made:
    """What later stages need of earlier ones, across rounds."""

    sft: str
    guideline: Guideline
    preferences: Path | None = None
    reward: Path | None = None
    findings: Artifact | None = None
    policies: dict[str, str] = field(default_factory=dict)
    """The last round's trained policies, by label."""


def run(recipe: Recipe, out: str | Path | None = None, *, resume: bool = False, watch: bool = False) -> RunResult:
    """Run every round of a recipe. `watch` shows progress on stderr.

    Raises TruingError for anything the user can mend; what was finished stays, and `resume` goes on from there.
    """
    recipe = recipe.with_judgments_frozen_anew()
    store = Store(out or recipe.run.out)
    lock = store.lock()
    try:
        view: View = view_for_terminal() if watch else PlainView(lambda _: None)
        with Watch(store.root, view, planned_stages(recipe)) as watcher:
            return _run(recipe, store, watcher, resume=resume)
    finally:
        lock.release()


def _run(recipe: Recipe, store: Store, watcher: Watch, *, resume: bool) -> RunResult:
    use_threads(recipe.run.threads)
    write_json(store.root / RUN_RECORD, recipe.model_dump(mode="json", exclude_unset=True))
    benches = [Bench(recipe.for_round(n), store, watcher, resume, n) for n in range(1, len(recipe.rounds) + 1)]
    made = first_policy(benches[0])
    for bench in benches:
        run_round(bench, made)
        if bench is not benches[-1] and recipe.does("findings"):
            approve = bench.recipe.findings.approve_amendments
            made.guideline = sign_off.next_guideline(store.root, bench.number, made.guideline, approve)
    decisions = [verdict.decision_of(store.root, bench.number) for bench in benches]
    if recipe.does("release") and "release" in decisions:
        release.run(benches[len(decisions) - 1 - decisions[::-1].index("release")], made.sft)
    with watcher.stage("report"):
        from truing.program.report.build import build

        build(store.root)
    return RunResult(root=store.root, summary=table(store.root), decision=decisions[-1])


def first_policy(bench: Bench) -> Made:
    """SFT, or what stands in for it. People's pairs are frozen before it: it may imitate their preferred answers."""
    made = Made(sft="", guideline=materials.first_guideline(bench))
    if bench.recipe.start_from.preferences or bench.recipe.data.comparisons:
        made.preferences = _or_given(bench, "preferences", lambda: stages.preference_set_from_file(bench))
    given = bench.recipe.start_from.sft
    if given and not (Path(given) / MANIFEST).exists():
        made.sft = resolve_model(given)
    else:
        sft = _or_given(bench, "sft", lambda: stages.sft(bench, made.preferences), name="sft")
        made.sft = str(sft) if sft else bench.base
    return made


def run_round(bench: Bench, made: Made) -> None:
    """One turn of the loop; writes into `made` what the next one needs."""
    made.preferences = _or_given(bench, "preferences", lambda: _preferences(bench, made)) or made.preferences
    made.reward = _or_given(bench, "reward", lambda: stages.reward(bench, made.sft, _set(made))) or made.reward
    if bench.recipe.does("reward_tests"):
        stages.reward_tests(bench, _reward(made), _set(made))
    trained = {"dpo": _or_given(bench, "dpo", lambda: stages.dpo(bench, made.sft, _set(made)))}
    for stage in RL_STAGES:
        trained[stage] = _or_given(bench, stage, partial(_rl, bench, stage, made))
        if trained[stage]:
            stages.monitor(bench, bench.store.read(bench.name(stage)), stage)
    made.policies = {label: str(path) for label, path in trained.items() if path}
    _measure(bench, made)
    if bench.recipe.does("findings"):
        made.findings = _findings(bench, made)
    if bench.recipe.does("gate"):
        verdict.run(bench)


def use_threads(threads: int | None) -> None:
    """Set this process's threads for tensor work; None leaves torch's own choice."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def planned_stages(recipe: Recipe) -> int:
    """How many stages a watcher will see, `release` and the report among them. What the recipe starts from takes none."""
    numbers = range(1, len(recipe.rounds) + 1)
    frozen = recipe.for_round(1).data.comparisons is not None and _makes(recipe, "preferences", 1)
    in_rounds = sum(_planned_in_round(recipe.for_round(number), number) for number in numbers)
    return frozen + _makes(recipe, "sft", 1) + in_rounds + recipe.does("release") + 1


def _planned_in_round(recipe: Recipe, number: int) -> int:
    def has(stage: StageName) -> bool:
        return recipe.does(stage) or _given(recipe, stage, number) is not None

    preferences = 1
    if recipe.data.comparisons is None:
        knows_reward = number > 1 and (recipe.does("reward") or recipe.start_from.reward is not None)
        preferences = 2 + (knows_reward and recipe.preferences.selection.pool is not None)
    made = sum(_makes(recipe, stage, number) for stage in ("reward", *POLICY_STAGES))
    monitored = sum(map(has, RL_STAGES))
    policies = sum(map(has, POLICY_STAGES))
    first = 1 + (number == 1 and (recipe.does("sft") or recipe.start_from.sft is not None))  # SFT, and what it began from
    attacked = policies + first * (number == 1)
    return (
        _makes(recipe, "preferences", number) * preferences
        + made
        + monitored
        + recipe.does("redteam") * attacked
        + recipe.does("evaluate") * (policies + first)
        + (recipe.does("reward_tests") + recipe.does("findings") + recipe.does("gate"))
    )


def _given(recipe: Recipe, stage: StageName, number: int) -> str | None:
    """What the recipe starts round 1 from in place of a stage."""
    return getattr(recipe.start_from, stage) if number == 1 else None


def _makes(recipe: Recipe, stage: StageName, number: int) -> bool:
    return recipe.does(stage) and _given(recipe, stage, number) is None


def _or_given(bench: Bench, stage: StageName, make: Callable[[], Artifact], name: str | None = None) -> Path | None:
    """The stage's artifact: the one that the recipe starts round 1 from, or made now; None where the run leaves it out."""
    source = _given(bench.recipe, stage, bench.number)
    if source:
        return adopt(bench.store, Path(source), name or bench.name(stage)).path
    return make().path if bench.recipe.does(stage) else None


def _preferences(bench: Bench, made: Made) -> Artifact:
    if bench.recipe.data.comparisons:
        return stages.preference_set_from_file(bench)
    everyone: dict[str, str | None] = {"sft": made.sft, "previous": made.policies.get(bench.recipe.run.candidate)}
    policies: dict[str, str] = {}
    for label in bench.recipe.preferences.policies:
        path = everyone[label]
        policies |= {str(label): path} if path else {}
    if not policies:
        raise TruingError(f"round {bench.number}: preferences.policies names no policy that exists yet")
    config = bench.recipe.preferences
    pool = config.selection.pool if made.reward else None
    compared = stages.sampled_comparisons(bench, policies, made.preferences, made.findings, pool or config.comparisons)
    if pool:
        compared = stages.selected_comparisons(bench, compared, _reward(made))
    earlier = made.preferences if bench.number > 1 else None
    return stages.judged_preferences(bench, compared, made.guideline, earlier)


def _rl(bench: Bench, stage: StageName, made: Made) -> Artifact:
    return stages.RL[stage](bench, made.sft, _reward(made), made.preferences, made.findings)


def _measure(bench: Bench, made: Made) -> None:
    """Red-team and evaluate every policy. Base and SFT do not change, so they are attacked once."""
    first: dict[str, str] = {"sft": made.sft}
    if bench.number == 1 and made.sft != bench.base:
        first = {"base": bench.base, **first}
    if bench.recipe.does("redteam"):
        for label, policy in ({**first, **made.policies} if bench.number == 1 else made.policies).items():
            stages.redteam(bench, label, policy)
    if bench.recipe.does("evaluate"):
        for label, policy in {**first, **made.policies}.items():
            stages.evaluate(
                bench,
                label,
                policy,
                reference=None if label == "base" else made.sft,
                ensemble=made.reward,
                preference_set=made.preferences,
            )


def _findings(bench: Bench, made: Made) -> Artifact:
    root, number, candidate = bench.store.root, bench.number, bench.recipe.run.candidate
    here = root / f"round-{number}"
    before = evidence.find_regression(root, number)
    sources = [f"redteam/{candidate}", "redteam/sft", "reward_tests", candidate]
    inputs = findings.FindingInputs(
        round=number,
        guideline=made.guideline,
        campaign=evidence.find_campaign(root, number, candidate),
        sft_campaign=evidence.find_campaign(root, number, "sft"),
        attempts=evidence.read_attempts(here, candidate),
        alarms=evidence.read_alarms(here, candidate),
        tests=evidence.read_tests(here),
        prompts=materials.train_prompts(bench, made.preferences),
        cases=stages.training_cases(bench, _set(made)) if made.preferences else (),
        earlier_regression=before,
        parents={
            source: bench.store.read(bench.name(source)).artifact_hash for source in sources if bench.has(bench.name(source))
        },
    )
    name = bench.name("findings")
    with bench.stage(name):
        phrases = bench.recipe.monitor.reward_tests
        return findings.run(
            bench.recipe.findings, inputs, bench.store, name, phrases=phrases, seed=bench.seed("findings"), resume=bench.resume
        )


def _set(made: Made) -> Path:
    if made.preferences is None:
        raise TruingError("there is no preference set: put 'preferences' into run.stages, or give start_from.preferences")
    return made.preferences


def _reward(made: Made) -> Path:
    if made.reward is None:
        raise TruingError("there is no reward model: put 'reward' into run.stages, or give start_from.reward")
    return made.reward
