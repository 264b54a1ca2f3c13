"""Rows of a table in any of the files people keep them in, each with the place to name when it is wrong."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any, NamedTuple

from truing.errors import TruingError

SUFFIXES = (".jsonl", ".jsonl.gz", ".ndjson", ".json", ".json.gz", ".parquet")


class Row(NamedTuple):
    """One row's fields, and `file:line` (the row's number in JSON lists and Parquet)."""

    place: str
    fields: dict[str, Any]


def read_rows(path: str | Path) -> list[Row]:
    """Read JSON lines, a JSON list, or Parquet, gzipped or not.

    Raises TruingError for a missing, empty or malformed file, naming the line.
    """
    path = Path(path)
    if not path.is_file():
        raise TruingError(f"{path}: no such file")
    name = path.name.removesuffix(".gz")
    if name.endswith((".jsonl", ".ndjson")):
        rows = [_object(f"{path}:{number}", line) for number, line in _numbered_lines(path)]
    elif name.endswith(".json"):
        rows = [_fields(f"{path}:{number}", value) for number, value in enumerate(_json_list(path), start=1)]
    elif name.endswith(".parquet"):
        rows = [Row(f"{path}:{number}", value) for number, value in enumerate(_parquet(path), start=1)]
    else:
        raise TruingError(f"{path}: unknown kind of file; use one of {', '.join(SUFFIXES)}")
    if not rows:
        raise TruingError(f"{path}: holds no rows")
    return rows


def _numbered_lines(path: Path) -> list[tuple[int, str]]:
    """Non-empty lines with their numbers in the file."""
    return [(number, line) for number, line in enumerate(_text(path).split("\n"), start=1) if line.strip()]


def _text(path: Path) -> str:
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return raw.decode("utf-8")
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
        raise TruingError(f"{path}: cannot be read as UTF-8 text: {error}") from None


def _object(place: str, line: str) -> Row:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise TruingError(
            f"{place}: not valid JSON ({error.msg} at column {error.colno}); each line is one JSON object"
        ) from None
    return _fields(place, value)


def _fields(place: str, value: Any) -> Row:
    if not isinstance(value, dict):
        raise TruingError(f"{place}: a row is a JSON object with named fields, not {type(value).__name__}")
    return Row(place, value)


def _json_list(path: Path) -> list[Any]:
    try:
        value = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise TruingError(f"{path}:{error.lineno}: not valid JSON: {error.msg}") from None
    if not isinstance(value, list):
        raise TruingError(f"{path}: a JSON list of objects is expected; for one object a line name the file .jsonl")
    return value


def _parquet(path: Path) -> list[dict[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        rows: list[dict[str, Any]] = pyarrow.parquet.read_table(path).to_pylist()
    except pyarrow.ArrowException as error:
        raise TruingError(f"{path}: not a readable Parquet file: {error}") from None
    return rows
