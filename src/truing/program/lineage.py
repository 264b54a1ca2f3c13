"""Where an artifact came from: its parents by content hash, back to the judgments, the raters and the guideline.

truing lineage runs/quickstart/release
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from truing.collect.exchange import sets
from truing.collect.exchange.tables import RATERS, read_table
from truing.errors import TruingError
from truing.records import Judgment, Record
from truing.store.artifacts import MANIFEST, Artifact, Store, read_artifact
from truing.store.files import read_json, read_records

MOST_RATERS = 40
"""Raters that are named in the tree; a set's raters.parquet has them all."""
RUN_RECORD = "recipe.json"
"""Every run writes its resolved recipe under this name at its root: it is how a run's root is recognised."""


class Node(Record):
    """One artifact (or outside input) and what it was made from."""

    role: str
    artifact_hash: str
    stage: str = "input"
    name: str = ""
    details: tuple[str, ...] = ()
    """Plain words: numbers of judgments, raters by pseudonym, guideline version, and the artifact's own notes."""
    parents: tuple[Node, ...] = ()


def find(wanted: str, root: Path | None = None) -> tuple[Artifact, Path]:
    """The artifact meant by a folder, a name or a hash prefix, and the root of the run it belongs to."""
    path = Path(wanted)
    if (path / MANIFEST).exists():
        return read_artifact(path), root or run_root(path)
    base = root or Path.cwd()
    if not base.is_dir():
        raise TruingError(f"{base}: no such folder; name the run's folder with --root")
    return Store(base).find(wanted), run_root(base)


def run_root(path: Path) -> Path:
    """The nearest folder at or above `path` that a run wrote its recipe to; else the folder itself, or an artifact's parent."""
    resolved = path.resolve()
    for folder in (resolved, *resolved.parents):
        if (folder / RUN_RECORD).exists():
            return folder
    return resolved.parent if (resolved / MANIFEST).exists() else resolved


def trace(artifact: Artifact, roots: Iterable[Path], role: str = "artifact") -> Node:
    """Walk the parents of `artifact` through every artifact found under `roots`."""
    known = {a.artifact_hash: a for root in roots if root.is_dir() for a in Store(root).artifacts()}
    return _trace(artifact, known, role)


def _trace(artifact: Artifact, known: dict[str, Artifact], role: str) -> Node:
    manifest = artifact.manifest
    return Node(
        role=role,
        artifact_hash=artifact.artifact_hash,
        stage=manifest.stage,
        name=manifest.name,
        details=(*manifest.notes, *_judgment_details(artifact)),
        parents=tuple(
            _trace(known[parent_hash], known, parent_role)
            if parent_hash in known
            else Node(role=parent_role, artifact_hash=parent_hash)
            for parent_role, parent_hash in manifest.parents.items()
        ),
    )


def _judgment_details(artifact: Artifact) -> list[str]:
    """For an artifact that holds judgments: how many, by whom, under which guideline."""
    if sets.is_set(artifact.path):
        _, summary = sets.open_set(artifact.path)
        raters = {rater.rater_id: rater.judgments for rater in read_table(artifact.path, RATERS)}
        guidelines = {use.guideline_hash: (use.judgments, use.version) for use in summary.guidelines}
        return _told(raters, summary.simulated, guidelines)
    path = artifact.path / "judgments.jsonl"
    if not path.exists():
        return []
    judgments = read_records(path, Judgment)
    summary_path = artifact.path / "summary.json"
    versions = read_json(summary_path)["guideline_versions"] if summary_path.exists() else {}
    under = Counter(j.guideline_hash for j in judgments)
    return _told(
        Counter(j.rater_id for j in judgments),
        sum(j.simulated for j in judgments),
        {digest: (count, versions.get(digest)) for digest, count in under.items()},
    )


def _told(raters: Mapping[str, int], simulated: int, guidelines: Mapping[str, tuple[int, int | None]]) -> list[str]:
    """`raters`: pseudonym -> judgments; `guidelines`: hash -> (judgments, version where known)."""
    lines = [f"{sum(raters.values())} judgments by {len(raters)} raters, {simulated} of them simulated"]
    if raters:
        named = [f"{name} ({count})" for name, count in sorted(raters.items())]
        more = f" and {len(named) - MOST_RATERS} more" if len(named) > MOST_RATERS else ""
        lines.append("raters: " + ", ".join(named[:MOST_RATERS]) + more)
    return lines + [
        f"guideline {digest[:12] or 'unknown'}{f' (version {version})' if version is not None else ''}: {count} judgments"
        for digest, (count, version) in guidelines.items()
    ]


def known_roots(root: Path) -> list[Path]:
    """The run's root, the roots of finished work that its recipe started from, and the judgment sets that it names."""
    roots = [root]
    record = root / RUN_RECORD
    if record.exists():
        recipe = read_json(record)
        roots += [run_root(Path(path)) for path in recipe.get("start_from", {}).values() if path]
        named = (recipe.get("data", {}).get("comparisons"), recipe.get("preferences", {}).get("judgments"))
        roots += [Path(path) for path in named if path]
    return roots


def render(node: Node) -> str:
    """The tree as text; an artifact met twice is told once."""
    lines: list[str] = []
    _render(node, "", "", lines, set())
    return "\n".join(lines)


def _render(node: Node, lead: str, below: str, lines: list[str], seen: set[str]) -> None:
    title = f"{node.stage} {node.name}".strip() if node.name else "input, not an artifact under this root"
    again = node.artifact_hash in seen and bool(node.parents or node.details)
    lines.append(f"{lead}{node.role}: {title} [{node.artifact_hash[:12]}]{' (told above)' if again else ''}")
    seen.add(node.artifact_hash)
    if again:
        return
    bar = "│  " if node.parents else "   "
    lines.extend(f"{below}{bar}· {detail}" for detail in node.details)
    for index, parent in enumerate(node.parents):
        last = index == len(node.parents) - 1
        _render(parent, below + ("└─ " if last else "├─ "), below + ("   " if last else "│  "), lines, seen)
