"""Artifacts and their lineage: directories that appear whole or not at all, each with a manifest written last.

A stage works in `NAME.partial/` (checkpoints and logs live there, so a killed run can go on) and publishes it by writing the
manifest and renaming the directory. The same work asked for again is recognised by its key and returned, not redone.
"""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import fsspec
from filelock import FileLock, Timeout
from fsspec.implementations.local import LocalFileSystem
from pydantic import BaseModel, JsonValue

from truing.errors import TruingError
from truing.records import Estimate, FileEntry, Manifest, content_hash
from truing.store.files import disk_errors, read_json, sha256_file, write_json, write_text

MANIFEST = "manifest.json"
_REQUEST = "request.json"
_PARTIAL = ".partial"
CHECKPOINT = "checkpoint"
"""Folder of a draft that holds resumable state; dropped when the artifact is published."""

Metric = Estimate | float | int | str | None


@dataclass(frozen=True)
class Artifact:
    """A published directory and its manifest."""

    path: Path
    manifest: Manifest

    @property
    def artifact_hash(self) -> str:
        """The content hash that children carry as their parent."""
        return self.manifest.artifact_hash


@dataclass
class Draft:
    """A stage's working directory. Write files under `path`, then `publish`."""

    path: Path
    target: Path
    stage: str
    name: str
    config: dict[str, JsonValue]
    parents: dict[str, str]
    seeds: dict[str, int]
    resumed: bool
    started: float = field(default_factory=time.monotonic)

    @property
    def checkpoint(self) -> Path:
        """Where resumable state goes."""
        return self.path / CHECKPOINT

    def publish(self, metrics: Mapping[str, Metric] | None = None, notes: tuple[str, ...] = ()) -> Artifact:
        """Write the manifest last and rename the directory into place."""
        with disk_errors(self.path):
            shutil.rmtree(self.checkpoint, ignore_errors=True)
            (self.path / _REQUEST).unlink(missing_ok=True)
            files = tuple(
                FileEntry(path=p.relative_to(self.path).as_posix(), sha256=sha256_file(p), size_bytes=p.stat().st_size)
                for p in sorted(self.path.rglob("*"))
                if p.is_file()
            )
            manifest = Manifest(
                stage=self.stage,
                name=self.name,
                config=self.config,
                parents=self.parents,
                files=files,
                metrics=dict(metrics or {}),
                seeds=self.seeds,
                code_version=code_version(),
                host=host_description(),
                timings_s={"wall": round(time.monotonic() - self.started, 3)},
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                notes=notes,
                artifact_hash=Manifest.hash_of(self.stage, self.config, self.parents, _hashed(files)),
            )
            write_json(self.path / MANIFEST, manifest.model_dump(mode="json"))
            self.path.rename(self.target)
            _fsync_directory(self.target.parent)
        return Artifact(self.target, manifest)


_LOGS = ("metrics.jsonl", "tensorboard/")


def _hashed(files: tuple[FileEntry, ...]) -> tuple[FileEntry, ...]:
    """Logs carry times; they are listed in the manifest and left out of the content hash."""
    return tuple(f for f in files if not f.path.startswith(_LOGS))


class Store:
    """Artifacts under one root directory (given as a path or a file:// URL, opened through fsspec)."""

    def __init__(self, root: str | Path) -> None:
        filesystem, path = fsspec.core.url_to_fs(str(root))
        if not isinstance(filesystem, LocalFileSystem):
            raise TruingError(f"{root}: runs are written to a local folder; copy finished artifacts elsewhere afterwards")
        self.root = Path(path)
        if self.root.is_file():
            raise TruingError(f"{root}: is a file; name a folder to write to")

    def lock(self) -> FileLock:
        """A lock that one run holds on this root; released by the system even after kill -9.

        Raises TruingError where another run holds it.
        """
        with disk_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.root / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise TruingError(
                f"{self.root}: another run is writing here. Wait for it (`truing status {self.root}`) or choose another --out."
            ) from None
        return lock

    def begin(
        self,
        stage: str,
        name: str,
        config: BaseModel,
        parents: Mapping[str, str],
        *,
        seeds: Mapping[str, int] | None = None,
        resume: bool = False,
    ) -> Draft | Artifact:
        """Open a working directory, or return the finished artifact where the very same work is already published.

        Raises TruingError where `name` holds other work, or a killed run's draft that `resume` was not asked for.
        """
        resolved: dict[str, JsonValue] = config.model_dump(mode="json")
        request = {"stage": stage, "config": resolved, "parents": dict(parents)}
        key = content_hash(request)
        target = self.root / name
        if (target / MANIFEST).exists():
            done = self.read(name)
            manifest = done.manifest
            if content_hash({"stage": manifest.stage, "config": manifest.config, "parents": manifest.parents}) == key:
                return done
            raise TruingError(
                f"{target}: already holds a '{manifest.stage}' made with other settings or inputs. "
                "Choose another --out, or remove that folder first."
            )
        path = target.with_name(target.name + _PARTIAL)
        resumed = (path / _REQUEST).exists()
        if resumed:
            if not resume:
                raise TruingError(f"{path}: an interrupted run is here. Pass --resume to go on with it, or remove the folder.")
            if content_hash(read_json(path / _REQUEST)) != key:
                raise TruingError(
                    f"{path}: the interrupted run here had other settings or inputs. Use the same ones to resume, "
                    "or remove the folder to start over."
                )
        elif path.exists():
            shutil.rmtree(path)
        with disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
            write_json(path / _REQUEST, request)
        return Draft(path, target, stage, name, resolved, dict(parents), dict(seeds or {}), resumed)

    def read(self, name: str) -> Artifact:
        """The artifact called `name`, its manifest checked for shape. Raises TruingError where it is not there."""
        return read_artifact(self.root / name)

    def artifacts(self) -> list[Artifact]:
        """Every published artifact under the root, oldest first."""
        found = [read_artifact(p.parent) for p in self.root.rglob(MANIFEST) if not _in_draft(p, self.root)]
        return sorted(found, key=lambda artifact: (artifact.manifest.created, str(artifact.path)))

    def find(self, wanted: str) -> Artifact:
        """An artifact by name, or by a prefix of its hash (at least six characters)."""
        if (self.root / wanted / MANIFEST).exists():
            return self.read(wanted)
        found = [a for a in self.artifacts() if len(wanted) >= 6 and a.artifact_hash.startswith(wanted)]
        if len(found) != 1:
            names = ", ".join(a.manifest.name for a in self.artifacts()) or "none yet"
            problem = "no artifact" if not found else "more than one artifact"
            raise TruingError(f"{problem} called '{wanted}' under {self.root} (there: {names})")
        return found[0]


def read_artifact(path: Path) -> Artifact:
    """Read a published artifact. Raises TruingError where the directory holds no manifest."""
    if not (path / MANIFEST).exists():
        raise TruingError(f"{path}: not an artifact (it has no {MANIFEST}); a run may have been cut short: try --resume")
    return Artifact(path, Manifest.model_validate(read_json(path / MANIFEST)))


def verify(artifact: Artifact) -> list[str]:
    """The files whose bytes no longer match the manifest (empty = intact)."""
    changed = []
    for entry in artifact.manifest.files:
        path = artifact.path / entry.path
        if not path.exists() or sha256_file(path) != entry.sha256:
            changed.append(entry.path)
    return changed


def hash_input(path: Path) -> str:
    """Content hash of something a stage reads: an artifact's own hash, a file's sha256, or a folder's file hashes."""
    if (path / MANIFEST).exists():
        return read_artifact(path).artifact_hash
    if path.is_file():
        return sha256_file(path)
    if path.is_dir():
        return content_hash([[p.relative_to(path).as_posix(), sha256_file(p)] for p in sorted(path.rglob("*")) if p.is_file()])
    raise TruingError(f"{path}: no such file or folder")


def code_version() -> str:
    """The installed package's version."""
    try:
        return version("truing")
    except PackageNotFoundError:
        return "source"


def host_description() -> dict[str, str]:
    """Machine facts that matter for reading timings; no host name, no user name."""
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpus": str(os.cpu_count()),
        "torch": _installed("torch"),
        "transformers": _installed("transformers"),
    }


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _in_draft(path: Path, root: Path) -> bool:
    return any(part.endswith(_PARTIAL) for part in path.relative_to(root).parts)


def _fsync_directory(path: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


__all__ = [
    "CHECKPOINT",
    "MANIFEST",
    "Artifact",
    "Draft",
    "Store",
    "hash_input",
    "read_artifact",
    "verify",
    "write_text",
]
