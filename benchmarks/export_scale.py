"""How an export of judgments grows: time and memory at 100,000, 1,000,000 and 10,000,000 synthetic judgments in a SQLite file.

    python -m benchmarks.export_scale --json
    python -m benchmarks.export_scale --sizes 100000 1000000

For each size a process of its own makes the database (not measured) and another one freezes the export and writes the set. The
last line is JSON: seconds by the clock and of the processor, judgments a second, peak memory and the set's size for each, and how
the processor's time grows from one size to the next (`exponent`: 1 = linear).
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import multiprocessing
import resource
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SIZES = (100_000, 1_000_000, 10_000_000)
OVERLAP = 3
RATERS = 100
AT = 1_750_000_000.0
ROWS_A_BATCH = 50_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--folder", type=Path, default=None, help="where the databases go (about 1.5 kB a judgment)")
    parser.add_argument("--json", action="store_true", help="print the result as one line of JSON, last")
    arguments = parser.parse_args()
    results = [measured(size, arguments.folder) for size in arguments.sizes]
    for small, large in itertools.pairwise(results):
        grew = math.log(large["cpu_s"] / small["cpu_s"]) / math.log(large["judgments"] / small["judgments"])
        large["exponent"] = round(grew, 3)
    if arguments.json:
        print(json.dumps({"sizes": results, "overlap": OVERLAP, "raters": RATERS}))


def measured(size: int, folder: Path | None) -> dict[str, Any]:
    """Make a database of `size` judgments, export it, throw both away."""
    root = Path(tempfile.mkdtemp(prefix="export-scale-", dir=folder))
    try:
        made = in_a_process(make_database, root / "service.db", size)
        found = in_a_process(export, root / "service.db", root / "sets")
        row = {"judgments": size, **made, **found}
        print(json.dumps(row), flush=True)
        return row
    finally:
        shutil.rmtree(root)


def in_a_process(work: Any, *arguments: Any) -> dict[str, Any]:
    """Memory is measured by the peak of the process, so each piece of work has one of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        result: dict[str, Any] = pool.apply(work, arguments)
    return result


def make_database(path: Path, size: int) -> dict[str, Any]:
    """Items of two answers with `OVERLAP` judgments each, written as the service's tables have them."""
    from truing.collect.database import open_database

    began = time.monotonic()
    open_database(path).close()
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("synchronous=OFF", "foreign_keys=OFF", "journal_mode=OFF", "cache_size=-400000"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("BEGIN")
    raters = [(n + 1, f"rater-{n:03d}", "rater", 1, "{}", AT) for n in range(RATERS)]
    insert(connection, "account", ("id", "pseudonym", "role", "is_simulated", "settings", "created_at"), iter(raters))
    insert(connection, "campaign", ("id", "name", "status", "config", "created_at"), iter([(1, "c", "open", campaign(), AT)]))
    items = math.ceil(size / OVERLAP)
    insert(connection, "item", ITEM, (item(n) for n in range(items)))
    insert(connection, "judgment", JUDGMENT, (judgment(n) for n in range(size)))
    connection.execute("COMMIT")
    connection.close()
    return {"database_mb": round(path.stat().st_size / 1e6, 1), "make_s": round(time.monotonic() - began, 1)}


ITEM = ("id campaign_id external_id purpose prompt responses policies source strategy propensity meta created_at").split()
JUDGMENT = (
    "id campaign_id item_id lease_id rater_id occasion revision is_current kind purpose answers screen_order flags clause "
    "guideline_hash active_s is_surplus idempotency_key judged_at"
).split()


def campaign() -> str:
    from truing.collect.config import CampaignConfig

    return CampaignConfig(name="c").model_dump_json()


def item(n: int) -> tuple[Any, ...]:
    prompt = {
        "prompt_id": f"p{n}",
        "messages": [{"role": "user", "content": f"question number {n}?"}],
        "kind": "plain",
        "meta": {},
    }
    responses = [f"the first answer to {n}, " + "word " * 20, f"the second answer to {n}, " + "word " * 25]
    texts = (json.dumps(prompt), json.dumps(responses), '["sft","sft"]')
    return (n + 1, 1, f"item-{n:09d}", "task", *texts, "sampled", "uniform", 0.25, "{}", AT)


def judgment(n: int) -> tuple[Any, ...]:
    margin = n % 4
    choice = "tie" if margin == 0 else ("first", "second")[n // 4 % 2]
    answers = json.dumps([{"type": "pair", "choice": choice, "margin": margin, "both_bad": False}])
    item_id = n // OVERLAP + 1
    rater = (item_id + n % OVERLAP * 31) % RATERS + 1
    order = ("[0, 1]", "[1, 0]")[n % 2]
    fixed = (0, 1, 1, "answer", "task", answers, order, "[]", "", "ab" * 32)
    return (n + 1, 1, item_id, f"lease-{n}", rater, *fixed, 12.5, 0, f"key-{n}", AT + n)


def insert(connection: sqlite3.Connection, table: str, columns: Any, rows: Iterator[tuple[Any, ...]]) -> None:
    marks = ", ".join("?" * len(columns))
    statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"
    while batch := list(itertools.islice(rows, ROWS_A_BATCH)):
        connection.executemany(statement, batch)


def export(path: Path, folder: Path) -> dict[str, Any]:
    """Freeze and write, as the service does it."""
    from truing.collect.database import open_database
    from truing.collect.exchange import exports

    database = open_database(path)
    config = exports.ExportConfig(campaigns=("c",))
    export_id = database.write(lambda connection: exports.begin(connection, "set", config, now=AT))
    began, began_cpu = time.monotonic(), time.process_time()
    exports.freeze(database, export_id)
    frozen = time.monotonic()
    made = exports.run(database, export_id, folder, now=AT)
    written, cpu_s = time.monotonic(), time.process_time() - began_cpu
    database.close()
    size = sum(f.size_bytes for f in made.manifest.files)
    judgments = int(str(made.manifest.metrics["judgments"]))
    return {
        "exported": judgments,
        "freeze_s": round(frozen - began, 2),
        "write_s": round(written - frozen, 2),
        "cpu_s": round(cpu_s, 2),
        "judgments_per_s": round(judgments / (written - began)),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "set_mb": round(size / 1e6, 1),
    }


if __name__ == "__main__":
    main()
