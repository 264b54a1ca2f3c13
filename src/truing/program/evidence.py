"""What the gate decides on, gathered from a round's artifacts on disk. No gold score is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from truing.evals.compare import compare
from truing.monitor.observer import SignalRow
from truing.monitor.reward_tests import RewardTestResult
from truing.program.findings import case_key
from truing.program.gate import Evidence, Pair, Skew
from truing.records import Alarm, Attempt, Estimate, Rollout
from truing.redteam.rates import CampaignRates
from truing.redteam.suites import CORRECTION
from truing.stats.intervals import wilson_clustered
from truing.store.files import read_json, read_records

SYCOPHANCY_MODES = ("stated_opinion", "are_you_sure")
UNSAFE_MODE, BENIGN_MODE = "unsafe_roleplay", "over_refusal"


def gather(root: Path, number: int, candidate: str) -> Evidence:
    """Evidence on round `number`'s candidate. What is not on disk is left out, and fails its check."""
    here = root / f"round-{number}"
    campaigns = {label: find_campaign(root, number, label) for label in (candidate, "sft")}
    attacks = _attack_pairs(campaigns[candidate], campaigns["sft"])
    report = _estimates(here / "evaluate" / candidate / "report.json")
    regression = find_regression(root, number)
    return Evidence(
        candidate=candidate,
        win_rate=_win_rate(here, candidate),
        attacks=attacks,
        unsafe_compliance=_unsafe(report, attacks),
        over_refusal=report.get("refused_benign") or _rate_of(attacks, BENIGN_MODE),
        sycophancy=_worst([attacks[m] for m in SYCOPHANCY_MODES if m in attacks]),
        reward_skews={
            t.name: Skew(probability=t.probability, shift_sd=t.shift_sd) for t in read_tests(here) if t.sort == "addition"
        },
        kl_nats=report.get("kl_nats"),
        open_alarms=_open_alarms(here, candidate),
        regression=retest(regression, read_attempts(here, candidate)),
        has_regression_cases=bool(regression),
    )


def find_campaign(root: Path, number: int, label: str) -> CampaignRates | None:
    """A policy's campaign of this round, or of the last one before that ran it (base and SFT do not change)."""
    for earlier in range(number, 0, -1):
        path = root / f"round-{earlier}" / "redteam" / label / "rates.json"
        if path.exists():
            return CampaignRates.model_validate(read_json(path))
        if label not in {"base", "sft"}:
            break
    return None


def find_regression(root: Path, number: int) -> list[Attempt]:
    """Regression cases kept by the rounds before `number`."""
    for earlier in range(number - 1, 0, -1):
        path = root / f"round-{earlier}" / "findings" / "regression.jsonl"
        if path.exists():
            return read_records(path, Attempt)
    return []


def read_attempts(here: Path, label: str) -> list[Attempt]:
    """A policy's attempts in a round's folder."""
    path = here / "redteam" / label / "attempts.jsonl"
    return read_records(path, Attempt) if path.exists() else []


def read_tests(here: Path) -> list[RewardTestResult]:
    """A round's reward-model tests."""
    path = here / "reward_tests" / "tests.json"
    return [RewardTestResult.model_validate(test) for test in read_json(path)["tests"]] if path.exists() else []


def read_alarms(here: Path, candidate: str) -> list[Alarm]:
    """Alarms raised while a policy was trained."""
    path = here / candidate / "alarms.jsonl"
    return read_records(path, Alarm) if path.exists() else []


def retest(cases: Sequence[Attempt], attempts: Sequence[Attempt]) -> Estimate | None:
    """Share of regression cases that no attempt on the same request broke again.

    A case not retested counts as broken; one that the policy's other answers took out of its mode ("are you sure?" after an
    answer that was wrong to begin with) is left out.
    """
    outcomes: dict[tuple[str, str, str], bool] = {}
    for attempt in attempts:
        key = case_key(attempt)
        outcomes[key] = outcomes.get(key, True) and attempt.success is False
    moved = {case_key(a)[1:] for a in attempts if a.mode == CORRECTION}
    counted = [case for case in cases if case_key(case) in outcomes or case_key(case)[1:] not in moved]
    if not counted:
        return None
    passed = [outcomes.get(case_key(case), False) for case in counted]
    return wilson_clustered(passed, [case.prompt.messages[0].content for case in counted])


def _win_rate(here: Path, candidate: str) -> Estimate | None:
    paths = [here / "evaluate" / label / "samples.jsonl" for label in (candidate, "sft")]
    if not all(path.exists() for path in paths):
        return None
    first, second = (read_records(path, Rollout) for path in paths)
    if not all(r.proxy_members for r in (*first, *second)):
        return None
    return compare(first, second).win_rate_by_proxy.raw


def _attack_pairs(candidate: CampaignRates | None, sft: CampaignRates | None) -> dict[str, Pair]:
    """Rates with every unjudgeable attempt counted against the candidate (and for SFT): a missing answer fails closed."""
    if candidate is None:
        return {}
    baseline = {rate.mode: rate.best for rate in sft.modes} if sft else {}
    return {rate.mode: Pair(candidate=rate.worst, sft=baseline.get(rate.mode)) for rate in candidate.modes}


def _unsafe(report: Mapping[str, Estimate], attacks: Mapping[str, Pair]) -> Estimate | None:
    refused = report.get("refused_unsafe")
    if refused is None:
        return _rate_of(attacks, UNSAFE_MODE)
    return Estimate(value=1 - refused.value, low=1 - refused.high, high=1 - refused.low, n=refused.n)


def _rate_of(attacks: Mapping[str, Pair], mode: str) -> Estimate | None:
    return attacks[mode].candidate if mode in attacks else None


def _worst(pairs: Sequence[Pair]) -> Pair | None:
    """The pair whose candidate rose most above SFT."""
    return max(pairs, key=lambda p: p.candidate.value - (p.sft.value if p.sft else 0.0), default=None)


def _open_alarms(here: Path, candidate: str) -> tuple[str, ...] | None:
    """Signals that raised an alarm and were over their threshold, or not measurable, at the last update.

    An alarm that stopped the run is closed: the checkpoint kept is from before it.
    """
    path = here / "monitor" / candidate / "signals.jsonl"
    if not path.exists():
        return None
    last = read_records(path, SignalRow)[-1].signals
    raised = {alarm.signal: alarm.threshold for alarm in read_alarms(here, candidate) if alarm.action != "stop"}
    now = {signal: last.get(signal) for signal in raised}
    return tuple(signal for signal, seen in now.items() if seen is None or seen.low > raised[signal])


def _estimates(path: Path) -> dict[str, Estimate]:
    if not path.exists():
        return {}
    found: dict[str, Any] = read_json(path)["estimates"]
    return {name: Estimate.model_validate(value) for name, value in found.items()}
