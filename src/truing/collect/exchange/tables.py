"""Comparisons, judgments and raters as Parquet: one schema each, written in pieces of a fixed size, read in pieces.

Equal rows in equal order make equal bytes, so a set can be compared with `cmp`. Columns hold what the records hold; a prompt's
messages are a list of structs, its `meta` is JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, NamedTuple, Self, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from truing.collect.exchange.judged import Remark
from truing.errors import TruingError
from truing.records import Comparison, Judgment, Record, canonical_json
from truing.store.files import close_synced

RecordT = TypeVar("RecordT", bound=Record)
ROWS_A_PIECE = 16_384
"""Rows held in memory, and in one row group."""

_TURN = pa.struct([("role", pa.string()), ("content", pa.string())])


class Rater(Record):
    """Who judged, by pseudonym, and how much of a set."""

    rater_id: str
    judgments: int
    simulated: bool


class Table(NamedTuple, Generic[RecordT]):
    """A file of a set: its name, its columns, and how a record becomes a row and a row a record."""

    file: str
    schema: pa.Schema
    to_row: Callable[[RecordT], dict[str, Any]]
    from_row: Callable[[dict[str, Any]], RecordT]


def _comparison_row(comparison: Comparison) -> dict[str, Any]:
    row = comparison.model_dump(exclude={"prompt", "policies"})
    prompt = comparison.prompt
    return row | {
        "prompt_id": prompt.prompt_id,
        "prompt": [{"role": m.role, "content": m.content} for m in prompt.messages],
        "prompt_kind": prompt.kind,
        "prompt_meta": canonical_json(prompt.meta),
        "policy_first": comparison.policies[0],
        "policy_second": comparison.policies[1],
    }


def _comparison(row: dict[str, Any]) -> Comparison:
    prompt = {
        "prompt_id": row.pop("prompt_id"),
        "messages": row.pop("prompt"),
        "kind": row.pop("prompt_kind"),
        "meta": json.loads(row.pop("prompt_meta")),
    }
    policies = (row.pop("policy_first"), row.pop("policy_second"))
    return Comparison.model_validate(row | {"prompt": prompt, "policies": policies})


def _schema(*columns: tuple[str, pa.DataType]) -> pa.Schema:
    return pa.schema([pa.field(name, kind) for name, kind in columns])


COMPARISONS: Table[Comparison] = Table(
    "comparisons.parquet",
    _schema(
        ("comparison_id", pa.string()),
        ("prompt_id", pa.string()),
        ("prompt", pa.list_(_TURN)),
        ("prompt_kind", pa.string()),
        ("prompt_meta", pa.string()),
        ("first", pa.string()),
        ("second", pa.string()),
        ("policy_first", pa.string()),
        ("policy_second", pa.string()),
        ("source", pa.string()),
        ("group", pa.string()),
        ("strategy", pa.string()),
        ("propensity", pa.float64()),
        ("gold", pa.string()),
    ),
    _comparison_row,
    _comparison,
)
JUDGMENTS: Table[Judgment] = Table(
    "judgments.parquet",
    _schema(
        ("judgment_id", pa.string()),
        ("comparison_id", pa.string()),
        ("rater_id", pa.string()),
        ("guideline_hash", pa.string()),
        ("left", pa.string()),
        ("choice", pa.string()),
        ("confidence", pa.float64()),
        ("simulated", pa.bool_()),
        ("margin", pa.int8()),
        ("both_bad", pa.bool_()),
        ("clause", pa.string()),
        ("flags", pa.list_(pa.string())),
        ("active_s", pa.float64()),
        ("judged_at", pa.string()),
        ("repeat", pa.bool_()),
        ("surplus", pa.bool_()),
    ),
    Judgment.model_dump,
    Judgment.model_validate,
)
RATERS: Table[Rater] = Table(
    "raters.parquet",
    _schema(("rater_id", pa.string()), ("judgments", pa.int64()), ("simulated", pa.bool_())),
    Rater.model_dump,
    Rater.model_validate,
)
REMARKS: Table[Remark] = Table(
    "remarks.parquet",
    _schema(*((name, pa.string()) for name in Remark.model_fields)),
    Remark.model_dump,
    Remark.model_validate,
)


class TableWriter(Generic[RecordT]):
    """Writes records as they come, `ROWS_A_PIECE` at a time; the file is whole once the block ends."""

    def __init__(self, folder: Path, table: Table[RecordT]) -> None:
        self._table = table
        self._rows: list[dict[str, Any]] = []
        self._file = (folder / table.file).open("wb")
        self._writer = pq.ParquetWriter(self._file, table.schema, compression="zstd")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if kind is None:
            self._flush()
        self._writer.close()
        close_synced(self._file)

    def add(self, record: RecordT) -> None:
        """Append one record."""
        self._rows.append(self._table.to_row(record))
        if len(self._rows) == ROWS_A_PIECE:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._table.schema), row_group_size=ROWS_A_PIECE)
            self._rows.clear()


def read_table(folder: Path, table: Table[RecordT]) -> Iterator[RecordT]:
    """Every record of a set's file, in order, a piece of it in memory at a time. Raises TruingError where it cannot be read."""
    path = folder / table.file
    try:
        with pq.ParquetFile(path) as file:
            for piece in file.iter_batches(ROWS_A_PIECE):
                for row in piece.to_pylist():
                    yield table.from_row(row)
    except (OSError, pa.ArrowException) as error:
        raise TruingError(f"{path}: cannot be read as part of a judgment set: {error}. Export the set again") from None
