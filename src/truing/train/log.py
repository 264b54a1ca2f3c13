"""A stage's `metrics.jsonl`, which anything can tail, and TensorBoard where asked for."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from truing.errors import TruingError
from truing.store.files import disk_errors, read_lines, truncate_lines
from truing.train.config import LoggingConfig

METRICS = "metrics.jsonl"
TENSORBOARD = "tensorboard"

Value = float | int | str | None


class MetricsLog:
    """Appends rows to `metrics.jsonl` under `folder`. `rows` is how many there are: a checkpoint carries it.

    A resumed stage passes the checkpoint's count as `keep_rows`; what was written after that is made again.
    `tensorboard` is where event files go, if not beside the rows.
    """

    def __init__(self, folder: Path, config: LoggingConfig, keep_rows: int = 0, tensorboard: Path | None = None) -> None:
        self._path = folder / METRICS
        truncate_lines(self._path, keep_rows)
        self.rows = keep_rows
        where = tensorboard or folder / TENSORBOARD
        self._tensorboard = _summary_writer(where, keep_rows) if config.tensorboard else None

    def write(self, row: Mapping[str, Value]) -> None:
        """Append one row. A number that is not finite is written as null."""
        clean = {name: _finite(value) for name, value in row.items()}
        with disk_errors(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(clean, allow_nan=False) + "\n")
        self.rows += 1
        if self._tensorboard is not None:
            for name, value in clean.items():
                if isinstance(value, float):
                    self._tensorboard.add_scalar(name, value, self.rows)

    def read(self) -> list[dict[str, Value]]:
        """Every row written so far."""
        return [json.loads(line) for line in read_lines(self._path)] if self.rows else []

    def close(self) -> None:
        """Flush what TensorBoard holds back."""
        if self._tensorboard is not None:
            self._tensorboard.close()


def _finite(value: Value) -> Value:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _summary_writer(folder: Path, rows: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise TruingError(
            "logging.tensorboard is on, but TensorBoard is not installed: pip install 'truing[tensorboard]'"
        ) from None
    return SummaryWriter(str(folder), purge_step=rows + 1)
