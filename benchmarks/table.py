"""The tables of README.md, made of what lies in `results/`.

python -m benchmarks.table        # after new results; a test checks that it was run
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.memory import WORKS as IN_W7
from benchmarks.memory import configurations
from benchmarks.paired.settings import RESULTS, THREADS, VOCABULARIES

README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- results: made by python -m benchmarks.table -->", "<!-- end of results -->"
COLUMNS = [(threads, vocab) for vocab in VOCABULARIES for threads in THREADS]


def main() -> None:
    README.write_text(with_results(README.read_text(), render(read_all())))


def read_all(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """Results of every work, in order."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("W*.json"))]


def with_results(page: str, tables: str) -> str:
    """`page` with what stands between the marks replaced."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n\n{tables}\n{END}{rest.split(END)[1]}"


def render(results: Sequence[dict[str, Any]]) -> str:
    """Speed, memory and where both were measured, as Markdown."""
    if not results:
        return "No results are committed yet.\n"
    return "\n".join([*_speed(results), "", *_memory(results), "", *_where(results), ""])


def _speed(results: Sequence[dict[str, Any]]) -> list[str]:
    heads = [f"{threads} thread{'s' * (threads > 1)}, V = {vocab}" for threads, vocab in COLUMNS]
    lines = [_line(["work", "processor", "case", "precision", *heads, "figure", "of the floor"]), _rule(6 + len(heads))]
    for of in results:
        for case, dtype in _groups(of["rows"]):
            rows = [row for row in of["rows"] if (row["case"], row["dtype"]) == (case, dtype)]
            by_column = {(row["threads"], row["vocab"]): row for row in rows}
            cells = [_ratio(by_column.get(column)) for column in COLUMNS]
            measured = [row["floor_fraction"] for row in rows if row["floor_fraction"] is not None]
            floor = f"{min(measured):.2f}–{max(measured):.2f}" if measured else ""
            lines.append(_line([of["work"], _processor(of), case, dtype, *cells, f"{rows[0].get('figure') or ''}", floor]))
    return lines


def _memory(results: Sequence[dict[str, Any]]) -> list[str]:
    heads = ["W7: work", "processor", "case", "precision", "V", "truing MB", "peer MB", "ratio", "above the start"]
    lines = [_line(heads), _rule(len(heads))]
    for of in (of for of in results if of["work"] in IN_W7):
        for row in configurations(of):
            names = ("case", "dtype", "vocab", "ours_mb", "peer_mb", "memory_ratio", "above_baseline")
            lines.append(_line([of["work"], _processor(of), *(str(row[name]) for name in names)]))
    return lines


def _where(results: Sequence[dict[str, Any]]) -> list[str]:
    lines = []
    for of in results:
        machine = of["machine"]
        versions = next((row["versions"] for row in of["rows"] if row.get("versions")), {"ours": {}, "peer": {}})
        ours = ", ".join(f"{name} {versions['ours'][name]}" for name in ("torch", "transformers") if name in versions["ours"])
        lines.append(
            f"- {of['work']}: {machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB; "
            f"truing at {machine['commit']}, {ours}; {of['repeats']} pairs, seed {of['seed']}."
        )
    return lines


def _processor(of: dict[str, Any]) -> str:
    """What tells the machines of the results apart."""
    machine = of["machine"]
    name = str(machine["cpu"]).removesuffix(" Processor")
    family = f" {machine['family']}" if "family" in machine else ""
    return f"{name}{family}, {machine['vectors']}" if "vectors" in machine else name


def _groups(rows: Iterable[dict[str, Any]]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((row["case"], row["dtype"]) for row in rows))


def _ratio(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    return "no parity" if row["ratio"] is None else f"{row['ratio']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(columns: int) -> str:
    return "|" + "---|" * columns


if __name__ == "__main__":
    main()
