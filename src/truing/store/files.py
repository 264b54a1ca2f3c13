"""Files written so that a kill or a full disk never leaves half of one: temporary name, fsync, rename."""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, TypeVar

from pydantic import BaseModel, ValidationError

from truing.errors import TruingError

RecordT = TypeVar("RecordT", bound=BaseModel)


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk or a refused write into an error that says what to do; what was already published stays."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise TruingError(
                f"{path}: the disk is full. Nothing published was lost: free some space, then run the same command with --resume."
            ) from error
        if error.errno in {errno.EACCES, errno.EROFS}:
            raise TruingError(f"{path}: cannot write there ({error.strerror}). Choose another folder.") from error
        raise


def write_text(path: Path, text: str) -> None:
    """Write atomically: after this returns the file is whole and on disk."""
    temporary = path.with_name(path.name + ".tmp")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically. Refuses NaN and infinity."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def write_records(path: Path, records: Iterable[BaseModel]) -> None:
    """Write records as JSON lines, atomically."""
    write_text(path, "".join(record.model_dump_json() + "\n" for record in records))


def append_records(path: Path, records: Iterable[BaseModel]) -> None:
    """Append records as JSON lines: for files that others tail while a stage runs."""
    with disk_errors(path), path.open("a", encoding="utf-8") as file:
        file.write("".join(record.model_dump_json() + "\n" for record in records))


def read_records(path: Path, cls: type[RecordT]) -> list[RecordT]:
    """Read JSON lines (or .gz of them). Raises TruingError with the file, the line and the field that is wrong."""
    records = []
    for number, line in numbered_lines(path):
        try:
            records.append(cls.model_validate_json(line))
        except ValidationError as error:
            problem = error.errors()[0]
            field = ".".join(str(part) for part in problem["loc"]) or "row"
            raise TruingError(f"{path}:{number}: field '{field}': {problem['msg']}") from None
    return records


def read_json(path: Path) -> Any:
    """Read one JSON document. Raises TruingError naming the file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TruingError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise TruingError(f"{path}: not valid JSON: {error}") from None


def read_lines(path: Path) -> list[str]:
    """The non-empty lines of a text file, unpacked where its name ends in .gz."""
    return [line for _, line in numbered_lines(path)]


def numbered_lines(path: Path) -> list[tuple[int, str]]:
    """The same, each with its number in the file, from 1."""
    return [(number, line) for number, line in enumerate(read_text(path).split("\n"), start=1) if line.strip()]


def read_text(path: Path) -> str:
    """A text file, unpacked where its name ends in .gz. Raises TruingError naming the file."""
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return raw.decode("utf-8")
    except FileNotFoundError:
        raise TruingError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise TruingError(f"{path}: is a folder. Name a file.") from None
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
        raise TruingError(f"{path}: cannot be read as UTF-8 text: {error}") from None


def close_synced(file: IO[Any]) -> None:
    """Close a file that was written piece by piece, once it is on disk."""
    file.flush()
    os.fsync(file.fileno())
    file.close()


def truncate_lines(path: Path, keep: int) -> None:
    """Keep the first `keep` lines of a log: what came after the checkpoint that a resumed run starts from is made again."""
    if not path.exists():
        return
    with path.open("rb") as file:
        lines = file.readlines()
    if len(lines) > keep:
        write_text(path, b"".join(lines[:keep]).decode("utf-8"))


def sha256_file(path: Path) -> str:
    """sha256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
