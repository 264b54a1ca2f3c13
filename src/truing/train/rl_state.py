"""What an RL run keeps besides weights: the tether's coefficient, the best weights so far, and logs that can be cut back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import JsonValue
from torch import nn
from transformers import PreTrainedModel

from truing.records import Alarm, Record, Rollout
from truing.store.files import append_records, read_records, truncate_lines

ROLLOUTS = "rollouts.jsonl"
ALARMS = "alarms.jsonl"


class RLCounts(Record):
    """The loop's own state, as a checkpoint carries it."""

    update: int = 0
    """Updates done."""
    beta: float
    rollouts: int = 0
    """Rows of each log when this was saved."""
    alarms: int = 0
    best_update: int | None = None
    """The update whose rollouts the best weights drew."""
    sampler_is_exact: bool = False
    """Whether the last update measured the sampler's log-probabilities to be the trainer's."""

    def to_extra(self) -> dict[str, JsonValue]:
        """As a checkpoint's `extra`."""
        return self.model_dump(mode="json")


class Best(nn.Module):
    """A copy, on the CPU, of what is trained of the policy, as it was when it drew the last update's rollouts without an alarm.

    From the first alarm on it stays as it is: what came after is under suspicion.
    """

    def __init__(self, policy: PreTrainedModel) -> None:
        super().__init__()
        self.weights = nn.ParameterList(weight.detach().cpu().clone() for weight in _trained(policy))

    @torch.no_grad()
    def take(self, policy: PreTrainedModel) -> None:
        """Copy the policy's weights."""
        for kept, weight in zip(self.weights, _trained(policy), strict=True):
            kept.copy_(weight)

    @torch.no_grad()
    def give_back(self, policy: PreTrainedModel) -> None:
        """Put the kept weights into the policy."""
        for kept, weight in zip(self.weights, _trained(policy), strict=True):
            weight.copy_(kept)


def _trained(policy: PreTrainedModel) -> list[nn.Parameter]:
    return [weight for weight in policy.parameters() if weight.requires_grad]


@dataclass
class Journal:
    """`rollouts.jsonl` and `alarms.jsonl` under `folder`, and how many rows each has."""

    folder: Path
    rollouts: int
    alarms: int

    def __post_init__(self) -> None:
        """Cut back what a killed run wrote after its last checkpoint."""
        for name, keep in ((ROLLOUTS, self.rollouts), (ALARMS, self.alarms)):
            (self.folder / name).touch()
            truncate_lines(self.folder / name, keep)

    def write(self, rollouts: Sequence[Rollout], alarms: Sequence[Alarm]) -> None:
        """Append an update's rows."""
        append_records(self.folder / ROLLOUTS, rollouts)
        append_records(self.folder / ALARMS, alarms)
        self.rollouts += len(rollouts)
        self.alarms += len(alarms)

    def read_rollouts(self) -> dict[int, list[Rollout]]:
        """Kept rollouts by update."""
        by_update: dict[int, list[Rollout]] = {}
        for rollout in read_records(self.folder / ROLLOUTS, Rollout):
            by_update.setdefault(rollout.update, []).append(rollout)
        return by_update
