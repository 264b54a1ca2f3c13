"""The manifest: what a stage leaves beside its files so that anyone can tell where they came from."""

from __future__ import annotations

from pydantic import Field, JsonValue

from truing.records.base import Record, content_hash
from truing.records.estimate import Estimate


class FileEntry(Record):
    """One file of an artifact, by its path inside the artifact."""

    path: str
    sha256: str
    size_bytes: int


class Manifest(Record):
    """Written last. `artifact_hash` covers the stage, its configuration, its parents and its files: not host or timings,
    so that the same work done twice on one machine has one hash.
    """

    stage: str
    name: str
    config: dict[str, JsonValue]
    parents: dict[str, str]
    """Role of each input -> its content hash (an artifact's hash, or a file's sha256)."""
    files: tuple[FileEntry, ...]
    metrics: dict[str, Estimate | float | int | str | None] = Field(default_factory=dict)
    seeds: dict[str, int] = Field(default_factory=dict)
    code_version: str
    host: dict[str, str]
    timings_s: dict[str, float]
    created: str
    notes: tuple[str, ...] = ()
    """Plain words a reader must see, such as "raters simulated"."""
    artifact_hash: str

    @staticmethod
    def hash_of(stage: str, config: dict[str, JsonValue], parents: dict[str, str], files: tuple[FileEntry, ...]) -> str:
        """The content hash of an artifact."""
        return content_hash([stage, config, parents, [[f.path, f.sha256] for f in files]])
