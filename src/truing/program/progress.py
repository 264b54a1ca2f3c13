"""What whoever watches a run sees: the stage, its rate, the time left and the numbers worth watching.

On a terminal a live table; elsewhere a plain line now and then. Both go to stderr, so that stdout stays for results, and both
keep OUT/progress.json current for `truing status`. The file is written at most once a second.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, Self

from pydantic import Field

from truing.records import Progress, Record
from truing.store.files import write_json

if TYPE_CHECKING:
    from rich.table import Table

PROGRESS_FILE = "progress.json"
_FILE_EVERY_S = 1.0
_LINE_EVERY_S = 10.0

State = Literal["running", "done", "kept", "failed"]
"""kept = finished by an earlier run and not done again."""


class StageState(Record):
    """One stage as it stands."""

    stage: str
    state: State
    done: int = 0
    total: int = 0
    elapsed_s: float = 0.0
    first_done: int = 0
    """Units done at the first report: the rate leaves out what came before it (loading, compiling)."""
    first_s: float = 0.0
    headline: dict[str, float | str | None] = Field(default_factory=dict)

    @property
    def rate_per_s(self) -> float | None:
        """Units of work a second since the first report."""
        done, seconds = self.done - self.first_done, self.elapsed_s - self.first_s
        return done / seconds if done > 0 and seconds > 0 else None

    @property
    def left_s(self) -> float | None:
        """Seconds left at the rate so far."""
        return (self.total - self.done) / self.rate_per_s if self.rate_per_s and self.total else None


class RunState(Record):
    """The whole of progress.json."""

    state: Literal["running", "done", "failed", "interrupted"]
    pid: int
    updated: str
    elapsed_s: float
    stages_planned: int
    stages: tuple[StageState, ...]


class View(Protocol):
    """How the state is shown."""

    def show(self, stages: list[StageState], planned: int) -> None:
        """Called after every change."""

    def say(self, line: str) -> None:
        """Print one line that stays."""

    def close(self) -> None:
        """The run is over."""


class Watch:
    """Collects the progress of a run's stages, shows it and writes it down. Use as a context manager."""

    def __init__(self, root: Path, view: View, planned: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._root, self._view, self._planned, self._clock = root, view, planned, clock
        self._began = clock()
        self._written = -math.inf
        self._stages: list[StageState] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._view.close()
        over: Literal["done", "failed", "interrupted"] = "failed" if kind else "done"
        self._write("interrupted" if kind is KeyboardInterrupt else over)

    @contextmanager
    def stage(self, name: str, *, kept: bool = False) -> Iterator[Progress]:
        """A stage's progress. What it yields goes to the stage; leaving closes the stage's line.

        `kept` says that an earlier run finished the stage, so that nothing is done again.
        """
        began = self._clock()
        self._stages.append(StageState(stage=name, state="running"))
        self._changed(force=True)
        try:
            yield _StageProgress(self, began)
        except BaseException:
            self._close("failed", began)
            raise
        self._close("kept" if kept else "done", began)

    def say(self, line: str) -> None:
        """Tell the watcher something that is not a number of a stage."""
        self._view.say(line)

    def report(self, began: float, done: int, total: int, headline: Mapping[str, float | str]) -> None:
        """Take over the running stage's numbers."""
        elapsed_s = self._clock() - began
        change = {"done": done, "total": total, "elapsed_s": elapsed_s, "headline": _finite(headline)}
        if not self._stages[-1].total:
            change |= {"first_done": done, "first_s": elapsed_s}
        self._stages[-1] = self._stages[-1].model_copy(update=change)
        self._changed()

    def _close(self, state: State, began: float) -> None:
        self._stages[-1] = self._stages[-1].model_copy(update={"state": state, "elapsed_s": self._clock() - began})
        self._changed(force=True)

    def _changed(self, *, force: bool = False) -> None:
        self._view.show(self._stages, self._planned)
        if force or self._clock() - self._written >= _FILE_EVERY_S:
            self._write("running")

    def _write(self, state: Literal["running", "done", "failed", "interrupted"]) -> None:
        self._written = self._clock()
        run = RunState(
            state=state,
            pid=os.getpid(),
            updated=datetime.now(UTC).isoformat(timespec="seconds"),
            elapsed_s=round(self._clock() - self._began, 2),
            stages_planned=self._planned,
            stages=tuple(self._stages),
        )
        write_json(self._root / PROGRESS_FILE, run.model_dump(mode="json"))


class _StageProgress:
    """What a stage is given: the Progress protocol."""

    def __init__(self, watch: Watch, began: float) -> None:
        self._watch, self._began = watch, began

    def update(self, done: int, total: int, headline: Mapping[str, float | str]) -> None:
        """Hand the numbers to the run's watch."""
        self._watch.report(self._began, done, total, headline)


class PlainView:
    """Lines for logs: one when a stage ends, and one every ten seconds while it runs."""

    def __init__(self, write: Callable[[str], None] | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._write = write or _to_stderr
        self._clock = clock
        self._last = -math.inf

    def show(self, stages: list[StageState], planned: int) -> None:
        """Print a line where a stage ended or ten seconds have passed."""
        stage = stages[-1]
        if stage.state == "running" and self._clock() - self._last < _LINE_EVERY_S:
            return
        if stage.state == "running" and not stage.done:
            return
        self._last = self._clock()
        self._write(f"[{len(stages)}/{planned}] {describe(stage)}")

    def say(self, line: str) -> None:
        """Print the line."""
        self._write(line)

    def close(self) -> None:
        """Nothing to tidy."""


class LiveView:
    """A table on the terminal that redraws itself four times a second."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(stderr=True)
        self._live = Live(console=self._console, refresh_per_second=4, transient=False)
        self._live.start()

    def show(self, stages: list[StageState], planned: int) -> None:
        """Redraw the table."""
        self._live.update(_table(stages, planned))

    def say(self, line: str) -> None:
        """Print the line above the table."""
        from rich.text import Text

        self._console.print(Text(line))

    def close(self) -> None:
        """Leave the table as it stands."""
        self._live.stop()


def view_for_terminal() -> View:
    """The live table where stderr is a terminal, plain lines elsewhere."""
    return LiveView() if sys.stderr.isatty() else PlainView()


def describe(stage: StageState) -> str:
    """One line: stage, how far, rate, time left, headline numbers."""
    parts = [f"{stage.stage}: {stage.state}"]
    if stage.total:
        parts.append(f"{stage.done}/{stage.total}")
    if stage.elapsed_s:
        parts.append(f"{stage.elapsed_s:.0f} s")
    if stage.state == "running" and stage.left_s is not None:
        parts.append(f"{stage.left_s:.0f} s left")
    if stage.rate_per_s:
        parts.append(f"{stage.rate_per_s:.3g}/s")
    parts += numbers(stage)
    return "  ".join(parts)


def numbers(stage: StageState) -> list[str]:
    """The headline as `name value`."""
    return [f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in stage.headline.items()]


def _table(stages: list[StageState], planned: int) -> Table:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"stage {len(stages)} of {planned}", title_justify="left", box=None, pad_edge=False)
    for heading in ("stage", "", "time", "left", "rate", "numbers"):
        table.add_column(heading, no_wrap=heading != "numbers")
    for stage in stages[-18:]:
        done = stage.done if stage.state == "running" else stage.total
        bar = ProgressBar(total=max(stage.total, 1), completed=done or (stage.state != "running"), width=16)
        left = f"{stage.left_s:.0f} s" if stage.state == "running" and stage.left_s is not None else ""
        rate = f"{stage.rate_per_s:.3g}/s" if stage.rate_per_s else ""
        name = Text(stage.stage, style={"failed": "red", "running": "bold"}.get(stage.state, ""))
        time_spent = stage.state if stage.state == "kept" else f"{stage.elapsed_s:.0f} s"
        table.add_row(name, bar, time_spent, left, rate, Text("  ".join(numbers(stage))))
    return table


def _finite(headline: Mapping[str, float | str]) -> dict[str, float | str | None]:
    return {key: value if isinstance(value, str) else _number(float(value)) for key, value in headline.items()}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
