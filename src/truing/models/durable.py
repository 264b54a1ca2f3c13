"""Tensors on disk written all or nothing: a neighbour folder is filled, flushed to disk, then put in place."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from truing.store.files import disk_errors

_OS_ERROR = re.compile(r"os error (\d+)")


@contextlib.contextmanager
def durable_folder(directory: Path) -> Iterator[Path]:
    """Yields a folder to write into; on leaving, its files are flushed and it takes the place of `directory`.

    Raises TruingError where the disk is full or refuses.
    """
    temporary = directory.with_name(directory.name + ".new")
    with disk_errors(directory), _safetensors_as_os_errors():
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        for path in sorted(temporary.rglob("*")):
            if path.is_file():
                _fsync(path)
        if directory.exists():
            shutil.rmtree(directory)
        temporary.rename(directory)
        if os.name == "posix":
            _fsync(directory.parent)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write one safetensors file, all or nothing, on disk when this returns. Raises TruingError where the disk is full."""
    temporary = path.with_name(path.name + ".new")
    with disk_errors(path), _safetensors_as_os_errors():
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(dict(tensors), temporary, dict(metadata))
        _fsync(temporary)
        temporary.replace(path)
        if os.name == "posix":
            _fsync(path.parent)


@contextlib.contextmanager
def _safetensors_as_os_errors() -> Iterator[None]:
    """Safetensors reports a full disk in words; give it back its number."""
    try:
        yield
    except SafetensorError as error:
        match = _OS_ERROR.search(str(error))
        raise OSError(int(match.group(1)) if match else errno.EIO, str(error)) from error


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
