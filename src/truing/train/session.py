"""What every loop needs around its steps: parents' hashes, a model ready to train, checkpoints at a cadence."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, JsonValue
from torch import nn
from transformers import PreTrainedModel

from truing.models.checkpoint import has_training_state, load_training_state, save_training_state
from truing.models.config import LoRASettings
from truing.models.lora import add_adapters
from truing.records import Record, content_hash
from truing.store.artifacts import hash_input
from truing.train.config import CheckpointConfig
from truing.train.step import Stepper

RecordT = TypeVar("RecordT", bound=BaseModel)


def parent_hash(source: str | Path | Sequence[Record]) -> str:
    """Content hash of an input: an artifact, file or folder; records in memory; or the name of a model on the hub."""
    if not isinstance(source, str | Path):
        return content_hash([record.model_dump(mode="json") for record in source])
    return hash_input(Path(source)) if Path(source).exists() else content_hash({"hub": str(source)})


def ready_to_train(model: PreTrainedModel, lora: LoRASettings | None = None, seed: int = 0) -> PreTrainedModel:
    """Switch to training mode (gradient checkpointing works only there) with every dropout at zero, as RLHF is done.

    With `lora`, what is trained are adapters, drawn from `seed`.
    """
    model.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if hasattr(module, "attention_dropout"):
            # a plain number on transformers' attention modules; nn.Module types every attribute as a tensor or a module
            module.attention_dropout = 0.0  # type: ignore[assignment]
    if lora is not None:
        add_adapters(model, lora, seed)
    return model


class Checkpointer:
    """Writes resumable state every so many seconds or steps, and reads it back.

    `models` are everything whose weights change; `steppers` move some of them.
    """

    def __init__(
        self, folder: Path, config: CheckpointConfig, models: Mapping[str, nn.Module], steppers: Mapping[str, Stepper]
    ) -> None:
        self._folder = folder
        self._config = config
        masters = {f"{name}-masters": s.masters for name, s in steppers.items() if s.has_masters}
        self._models = {**models, **masters}
        self._steppers = steppers
        self._optimisers = {name: stepper.optimiser for name, stepper in steppers.items()}
        self._saved_at = time.monotonic()

    def restore(self) -> dict[str, JsonValue]:
        """Put the last saved state into models and steppers; returns what the loop kept, or {} where nothing was saved yet."""
        if not has_training_state(self._folder):
            return {}
        extra = load_training_state(self._folder, models=self._models, optimisers=self._optimisers)
        steps = extra.pop("steps_done")
        assert isinstance(steps, dict)
        for name, stepper in self._steppers.items():
            stepper.steps_done = int(str(steps[name]))
        return extra

    def after_step(self, step: int, extra: Mapping[str, JsonValue]) -> None:
        """Save where it is due. `extra` is what the loop itself needs to go on."""
        every = self._config.every_steps
        if time.monotonic() - self._saved_at >= self._config.every_s or (every is not None and step % every == 0):
            self.save(extra)

    def save(self, extra: Mapping[str, JsonValue]) -> None:
        """Save now."""
        steps: dict[str, JsonValue] = {name: stepper.steps_done for name, stepper in self._steppers.items()}
        save_training_state(self._folder, models=self._models, optimisers=self._optimisers, extra={**extra, "steps_done": steps})
        self._saved_at = time.monotonic()
