"""The red-team stage: put a suite's attacks to a policy, judge the answers, and report attack rates by mode with intervals.

    truing redteam MODEL

The policy stands behind a `Generate` callable (`truing.evals.adapters.policy_generator` makes one). Each mode's attempts are
kept as soon as they are judged, so that a killed campaign goes on with the next mode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from truing.errors import TruingError
from truing.records import Attempt, Estimate, NullProgress, Progress, Prompt, Record
from truing.redteam.attacks import follow
from truing.redteam.config import RedTeamConfig
from truing.redteam.general_suite import general_suite
from truing.redteam.rates import CampaignRates, campaign_rates
from truing.redteam.suites import Case, Suite
from truing.redteam.world_suite import world_suite
from truing.store.artifacts import Artifact, Store
from truing.store.files import read_records, write_json, write_records

Generate = Callable[[Sequence[Prompt]], list[str]]
"""Prompts -> one completion each, in order. Equal prompts ask for several samples."""

SUITES: Mapping[str, Callable[[RedTeamConfig], Suite]] = {"world": world_suite, "general": general_suite}


@dataclass(frozen=True)
class RedTeamInputs:
    """What the stage reads: the policy behind a callable, and the hashes of what it came from."""

    generate: Generate
    parents: Mapping[str, str]


class _Row(Record):
    """An attempt with the request it belongs to, as kept while the campaign runs."""

    attempt: Attempt
    request_id: str


def run(
    config: RedTeamConfig,
    inputs: RedTeamInputs,
    store: Store,
    name: str,
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> Artifact:
    """Run a campaign and publish `attempts.jsonl` (Attempt) and `rates.json` (CampaignRates)."""
    draft = store.begin("redteam", name, config, inputs.parents, seeds={"redteam": config.seed}, resume=resume)
    if isinstance(draft, Artifact):
        return draft
    draft.checkpoint.mkdir(exist_ok=True)
    suite = SUITES[config.suite](config)
    rows: list[_Row] = []
    for done, mode in enumerate(config.modes, start=1):
        rows += _attack_once(config.with_changes(modes=(mode,)), suite, inputs.generate, draft.checkpoint / f"{mode}.jsonl")
        (progress or NullProgress()).update(done, len(config.modes), {"mode": mode, "attempts": float(len(rows))})
    rates = campaign_rates(suite.name, suite.judged_by, [(row.attempt, row.request_id) for row in rows])
    write_records(draft.path / "attempts.jsonl", [row.attempt for row in rows])
    write_json(draft.path / "rates.json", rates.model_dump(mode="json"))
    return draft.publish(_metrics(rates), notes=(f"attacks judged by {suite.judged_by}",))


def attack(config: RedTeamConfig, suite: Suite, generate: Generate) -> list[tuple[Attempt, str]]:
    """Every case's attempts, each with its request. Raises TruingError where the policy answers fewer prompts than asked."""
    cases = [case for case in suite.cases(config) for _ in range(config.samples_per_prompt)]
    first = _answers(generate, [case.prompt for case in cases])
    again = [index for index, case in enumerate(cases) if case.follow_up is not None]
    asked = {index: follow(cases[index].prompt, first[index], cases[index].follow_up or "") for index in again}
    second = dict(zip(again, _answers(generate, list(asked.values())), strict=True)) if again else {}
    return [
        (_attempt(suite, case, asked.get(index, case.prompt), [first[index], *_after(second, index)]), case.request_id)
        for index, case in enumerate(cases)
    ]


def _attack_once(config: RedTeamConfig, suite: Suite, generate: Generate, kept: Path) -> list[_Row]:
    if not kept.exists():
        write_records(kept, [_Row(attempt=a, request_id=request) for a, request in attack(config, suite, generate)])
    return read_records(kept, _Row)


def _attempt(suite: Suite, case: Case, prompt: Prompt, answers: Sequence[str]) -> Attempt:
    verdict = suite.judge(case, answers)
    return Attempt(
        prompt=prompt,
        mode=verdict.mode or case.mode,
        technique=case.technique,
        completion=answers[-1],
        success=verdict.success,
        reason=verdict.reason,
    )


def _after(second: Mapping[int, str], index: int) -> list[str]:
    return [second[index]] if index in second else []


def _answers(generate: Generate, prompts: Sequence[Prompt]) -> list[str]:
    answers = generate(prompts)
    if len(answers) != len(prompts):
        raise TruingError(f"the policy gave {len(answers)} answers to {len(prompts)} prompts: no rate can be read off that")
    return answers


def _metrics(rates: CampaignRates) -> dict[str, Estimate | float | int | str | None]:
    listed = [*rates.modes, *([rates.correction] if rates.correction else [])]
    return {rate.mode: rate.rate for rate in listed}
