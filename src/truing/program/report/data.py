"""From a run's folder to a typed report. Reads files only; a stage that was left out leaves its part empty."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from truing.errors import TruingError
from truing.evals.report import PolicyReport
from truing.figures.scale import smooth
from truing.monitor.reward_tests import RewardTestResult
from truing.program.gate import GateDecision
from truing.program.report import conversations
from truing.program.report.model import (
    ArtifactNode,
    FindingNumbers,
    Gate,
    GateCheck,
    PolicyNumbers,
    Preferences,
    Report,
    RewardNumbers,
    RewardTest,
    Round,
    RoundAlarm,
    Trajectory,
    UpdatePoint,
)
from truing.records import Alarm, Estimate, Finding, Manifest, Record
from truing.redteam.rates import CampaignRates
from truing.store.artifacts import MANIFEST, Store, read_artifact
from truing.store.files import numbered_lines, read_json, read_records

RecordT = TypeVar("RecordT", bound=Record)

_RL = ("ppo", "grpo", "rloo")
_POLICIES = (*_RL, "dpo")
_HEADLINE = ("gold", "proxy", "kl_nats", "length_tokens")
_ROUND = re.compile(r"round-(\d+)")
_PARTS = {
    "preferences": "preferences",
    "reward": "reward model",
    "reward_tests": "reward-model tests",
    "ppo": "PPO",
    "grpo": "GRPO",
    "rloo": "RLOO",
    "dpo": "DPO",
    "evaluate": "evaluation",
    "redteam": "red team",
    "findings": "findings",
    "gate": "gate",
}


def collect(root: Path) -> Report:
    """Read everything a run left under `root`. Raises TruingError where nothing did, or where a file is not what it should be."""
    lineage = _lineage(root)
    if not lineage:
        raise TruingError(f"{root}: no finished stage is here, so there is nothing to report. Name the folder a run wrote to.")
    rounds = _with_earlier_sft([_round(folder, number) for number, folder in _round_folders(root)])
    release = root / "release" / MANIFEST
    return Report(
        title=_title(rounds),
        simulated_raters=_simulated(rounds),
        rounds=tuple(rounds),
        conversations=conversations.side_by_side(_round_folders(root)),
        lineage=lineage,
        released=read_artifact(release.parent).artifact_hash if release.exists() else None,
        missing=_missing(root, lineage),
    )


def _title(rounds: Sequence[Round]) -> str:
    """How many rounds, and what became of each: "Two rounds: one held back, one released"."""
    names = {0: "No round of the loop", 1: "One round", 2: "Two rounds", 3: "Three rounds", 4: "Four rounds"}
    count = names.get(len(rounds), f"{len(rounds)} rounds")
    decisions = [r.gate.decision for r in rounds if r.gate]
    if len(decisions) < max(1, len(rounds)):
        return f"{count} of the loop" if rounds else count
    words = ["released" if decision == "release" else "held back" for decision in decisions]
    if len(set(words)) == 1:
        return f"{count}: {'both ' if len(words) == 2 else 'all ' if len(words) > 2 else ''}{words[0]}"
    return f"{count}: the first {words[0]}, the last {words[-1]}"


def _round_folders(root: Path) -> list[tuple[int, Path]]:
    """(number, folder) of every round that published something, in order."""
    found = ((_ROUND.fullmatch(p.name), p) for p in root.iterdir() if p.is_dir())
    numbered = [(int(match[1]), path) for match, path in found if match]
    return sorted((number, path) for number, path in numbered if any(path.rglob(MANIFEST)))


def _round(folder: Path, number: int) -> Round:
    policies = {name: _policy(folder, name) for name in _policy_names(folder)}
    gate = _gate(folder / "gate")
    candidate = next((name for name in _POLICIES if gate and gate.candidate and name in gate.candidate), None)
    final = candidate or next((name for name in _POLICIES if name in policies), None)
    return Round(
        round=number,
        policy=policies.get(final) if final else None,
        sft=policies.get("sft"),
        policies=policies,
        preferences=_preferences(folder / "preferences"),
        reward=_reward(folder),
        trajectories=_trajectories(folder),
        alarms=_alarms(folder),
        findings=_findings(folder / "findings"),
        amendment=_amendment(folder / "findings" / "amendment.diff"),
        gate=gate,
    )


def _published(folder: Path) -> bool:
    return (folder / MANIFEST).exists()


def _policy_names(folder: Path) -> list[str]:
    order = ("base", "sft", "dpo", *_RL)
    names = {p.parent.name for kind in ("evaluate", "redteam") for p in (folder / kind).glob(f"*/{MANIFEST}")}
    return sorted(names, key=lambda n: (order.index(n) if n in order else len(order), n))


def _policy(folder: Path, name: str) -> PolicyNumbers:
    estimates: dict[str, Estimate] = {}
    evaluation = folder / "evaluate" / name
    if _published(evaluation):
        estimates = dict(_parse(evaluation / "report.json", PolicyReport).estimates)
    headline = {key: estimates.pop(key, None) for key in _HEADLINE}
    return PolicyNumbers(policy=name, attributes=estimates, attacks=_attacks(folder / "redteam" / name), **headline)


def _attacks(campaign: Path) -> dict[str, Estimate]:
    """Rates over what could be judged; where nothing could, the worst case."""
    if not _published(campaign):
        return {}
    return {rate.mode: rate.rate or rate.worst for rate in _parse(campaign / "rates.json", CampaignRates).modes}


def _preferences(folder: Path) -> Preferences | None:
    if not _published(folder):
        return None
    summary = read_json(folder / "summary.json")
    return Preferences(
        pairs=summary.get("pairs_train", 0) + summary.get("pairs_heldout", 0),
        raters=summary.get("raters"),
        judgments=summary.get("judgments"),
        simulated=summary.get("simulated"),
        guideline_version=summary.get("guideline_version"),
    )


def _reward(folder: Path) -> RewardNumbers | None:
    metrics = read_artifact(folder / "reward").manifest.metrics if _published(folder / "reward") else {}
    tests = _reward_tests(folder / "reward_tests")
    if not metrics and not tests:
        return None
    summary = read_json(folder / "preferences" / "summary.json") if _published(folder / "preferences") else {}
    ceiling, longer = summary.get("oracle_accuracy"), summary.get("longer_wins")
    return RewardNumbers(
        accuracy=_estimate(metrics.get("heldout_accuracy")),
        noise_ceiling=ceiling,
        longer_wins=Estimate.model_validate(longer) if longer else None,
        calibration_error=_estimate(metrics.get("heldout_ece")),
        tests=tests,
    )


def _estimate(value: object) -> Estimate | None:
    return value if isinstance(value, Estimate) else None


def _reward_tests(folder: Path) -> tuple[RewardTest, ...]:
    if not _published(folder):
        return ()
    results = [_validated(folder / "tests.json", RewardTestResult, row) for row in read_json(folder / "tests.json")["tests"]]
    return tuple(RewardTest(test=r.name, skew=r.probability, shift_sd=r.shift_sd, failed=r.skewed) for r in results)


def _trajectories(folder: Path) -> dict[str, Trajectory]:
    """Only RL leaves an update-by-update log of rewards."""
    points = {name: _points(folder / name / "metrics.jsonl") for name in _RL if _published(folder / name)}
    return {name: _trajectory(of_policy) for name, of_policy in points.items() if of_policy}


def _trajectory(points: tuple[UpdatePoint, ...]) -> Trajectory:
    window = max(1, len(points) // 10) | 1
    peak = None
    gold = [p.gold for p in points if p.gold is not None]
    if len(gold) == len(points):
        smoothed = smooth(gold, window)
        peak = points[smoothed.index(max(smoothed))].update
    return Trajectory(points=points, smoothing_updates=window, gold_peak_update=peak)


def _points(path: Path) -> tuple[UpdatePoint, ...]:
    rows = (_json_line(path, number, line) for number, line in numbered_lines(path))
    return tuple(_point(row) for row in rows if row.get("proxy") is not None and row.get("kl_nats") is not None)


def _json_line(path: Path, number: int, line: str) -> Mapping[str, Any]:
    try:
        row: Mapping[str, Any] = json.loads(line)
    except json.JSONDecodeError as error:
        raise TruingError(f"{path}:{number}: not valid JSON: {error}") from None
    return row


def _point(row: Mapping[str, Any]) -> UpdatePoint:
    return UpdatePoint.model_validate({key: row.get(key) for key in UpdatePoint.model_fields})


def _alarms(folder: Path) -> tuple[RoundAlarm, ...]:
    """What the tests raised before training and the monitor during that of each policy, in order."""
    raised: list[RoundAlarm] = []
    if _published(folder / "reward_tests"):
        path = folder / "reward_tests" / "tests.json"
        raised += [_validated(path, RoundAlarm, row) for row in read_json(path).get("alarms", [])]
    for policy in _RL:
        log = folder / policy / "alarms.jsonl"
        if _published(folder / policy) and log.exists():
            raised += [RoundAlarm(**alarm.model_dump(), policy=policy) for alarm in read_records(log, Alarm)]
    return tuple(sorted(raised, key=lambda a: (a.update, a.signal)))


def _findings(folder: Path) -> tuple[FindingNumbers, ...]:
    path = folder / "findings.jsonl"
    found = read_records(path, Finding) if _published(folder) and path.exists() else []
    return tuple(
        FindingNumbers(finding_id=f.finding_id, source=f.source, mode=f.mode, summary=f.summary, rate=f.rate) for f in found
    )


def _amendment(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def _gate(folder: Path) -> Gate | None:
    if not _published(folder):
        return None
    decision = _parse(folder / "gate.json", GateDecision)
    checks = tuple(GateCheck(check=c.check, outcome=c.outcome, reason=c.reason) for c in decision.checks)
    return Gate(decision=decision.decision, reasons=decision.reasons, candidate=decision.candidate, checks=checks)


def _with_earlier_sft(rounds: Sequence[Round]) -> list[Round]:
    """SFT is one policy for the whole run: a round that did not measure it again is held against the earlier numbers."""
    known: PolicyNumbers | None = None
    filled = []
    for turn in rounds:
        known = turn.sft or known
        filled.append(turn.model_copy(update={"sft": known}))
    return filled


def _simulated(rounds: Sequence[Round]) -> bool | None:
    """True where any round's judgments were simulated, False where all are known to be people's."""
    known = [r.preferences.simulated for r in rounds if r.preferences and r.preferences.simulated is not None]
    return any(known) if known else None


def _lineage(root: Path) -> tuple[ArtifactNode, ...]:
    if not root.is_dir():
        raise TruingError(f"{root}: no such folder")
    return tuple(_node(a.manifest) for a in Store(root).artifacts())


def _node(manifest: Manifest) -> ArtifactNode:
    return ArtifactNode(
        name=manifest.name,
        stage=manifest.stage,
        artifact_hash=manifest.artifact_hash,
        parents=manifest.parents,
        wall_s=manifest.timings_s.get("wall"),
        notes=manifest.notes,
    )


def _missing(root: Path, lineage: Sequence[ArtifactNode]) -> tuple[str, ...]:
    done = {node.stage for node in lineage}
    wanted: Iterator[tuple[str, str]] = iter({"sft": "SFT", **_PARTS}.items())
    absent = [label for stage, label in wanted if stage not in done]
    return tuple(absent if (root / "release" / MANIFEST).exists() else [*absent, "release"])


def _parse(path: Path, cls: type[RecordT]) -> RecordT:
    return _validated(path, cls, read_json(path))


def _validated(path: Path, cls: type[RecordT], values: object) -> RecordT:
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(str(part) for part in problem["loc"]) or "document"
        raise TruingError(f"{path}: field '{field}': {problem['msg']}") from None
