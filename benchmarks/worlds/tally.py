"""Results that survive a kill: one JSON line a finished piece of work, and what is done is not done again."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def run_all(path: Path, work: Mapping[str, Callable[[], Row]]) -> dict[str, Row]:
    """Do each piece of work whose key the file lacks, in order, and return every row by its key.

    Progress and the time left (by the mean of what was done now) go to the standard error.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    done = _read(path)
    missing = [key for key in work if key not in done]
    began = time.monotonic()
    for number, key in enumerate(missing, start=1):
        row = {"key": key, **work[key]()}
        with path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(row) + "\n")
        done[key] = row
        left_s = (time.monotonic() - began) / number * (len(missing) - number)
        print(
            f"{len(work) - len(missing) + number} of {len(work)}: {key} ({left_s / 60:.1f} min left)", file=sys.stderr, flush=True
        )
    return {key: done[key] for key in work}


def _read(path: Path) -> dict[str, Row]:
    """Rows by key; a last line that a kill cut short is dropped from the file, so that the next one begins a line."""
    if not path.exists():
        return {}
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    return {row["key"]: row for row in map(json.loads, whole.splitlines())}
