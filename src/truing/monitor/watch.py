"""The monitor as a stage of its own: read the rollouts that a policy's training left, publish every signal and every alarm.

During training the same monitor sits in the loop and acts; this leaves what it saw, update by update, for the report.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from truing.monitor.config import MonitorConfig
from truing.monitor.observer import replay
from truing.store.artifacts import Artifact, Store
from truing.store.files import write_records


@dataclass(frozen=True)
class WatchInputs:
    """`rollouts` is a `rollouts.jsonl`; `parents` names the training run it belongs to, by hash."""

    rollouts: Path
    parents: Mapping[str, str]


def run(config: MonitorConfig, inputs: WatchInputs, store: Store, name: str, *, resume: bool = False) -> Artifact:
    """Publish `signals.jsonl` (SignalRow, one an update) and `alarms.jsonl` (Alarm)."""
    draft = store.begin("monitor", name, config, inputs.parents, resume=resume)
    if isinstance(draft, Artifact):
        return draft
    rows, alarms = replay(inputs.rollouts, config)
    write_records(draft.path / "signals.jsonl", rows)
    write_records(draft.path / "alarms.jsonl", alarms)
    last = rows[-1].signals if rows else {}
    return draft.publish({signal: estimate for signal, estimate in last.items() if estimate is not None})
