"""Stage 2: judgments become a frozen preference set.

Comparisons are judged (by simulated raters, or by people whose judgments are read from a file), or pairs that people judged
elsewhere are read. Judgments of one comparison make one pair with a soft label, by default the share of raters who chose
`chosen`, ties counting half (`raters/labels.py` has the others). The set is split by prompt (or by group), so that no prompt
lies on both sides.

An earlier round's training pairs are kept. Where their guideline lacks a clause that has been added since, they weigh less.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import comb
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field, JsonValue

from truing.config import Config
from truing.data.splits import Split, split_by
from truing.errors import TruingError
from truing.program.exclusions import leave_out, notes
from truing.raters.config import How
from truing.raters.labels import soft_labels
from truing.records import Comparison, Estimate, Guideline, Judgment, PreferencePair, Progress, content_hash
from truing.stats.intervals import wilson_clustered
from truing.store.artifacts import Artifact, Draft, Store, read_artifact
from truing.store.files import read_json, read_records, write_json, write_records, write_text

RowT = TypeVar("RowT")
SIMULATED_NOTE = "raters simulated: no person judged these pairs"

Judge = Callable[[Comparison], list[Judgment]]
ExpectedPreference = Callable[[Comparison], float]
"""P(first preferred) over the raters' own preferences."""


class FreezeConfig(Config):
    """How judgments become a set."""

    heldout_fraction: float = Field(default=0.15, gt=0, lt=1)
    split_by: Literal["prompt", "group"] = "prompt"
    superseded_weight: float = Field(default=0.3, ge=0, le=1)
    labels: How = "majority"
    raters: int | None = None
    """Simulated raters; None = the judgments are people's."""
    judgments_per_comparison: int = Field(default=1, ge=1)
    max_pairs: int | None = None
    without_guidelines: tuple[str, ...] = ()
    without_raters: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class JudgedInputs:
    """Comparisons, who judges them under which guideline, and earlier rounds' sets."""

    comparisons: Sequence[Comparison]
    judge: Judge
    guideline: Guideline
    parents: Mapping[str, str]
    expected: ExpectedPreference | None = None
    """Known only of simulated raters."""
    earlier: Path | None = None
    """The preference set of the round before."""
    versions: Mapping[str, int] = field(default_factory=dict)
    """Hash -> version of the guidelines that judgments were made under, where known; `guideline` need not be among them."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileInputs:
    """Pairs that people judged, as read from `source`."""

    pairs: Sequence[PreferencePair]
    source: str
    guideline: Guideline
    parents: Mapping[str, str]


def freeze_judged(
    config: FreezeConfig, inputs: JudgedInputs, store: Store, name: str, *, resume: bool = False, progress: Progress
) -> Artifact:
    """Have the comparisons judged and publish the set."""
    draft = store.begin("preferences", name, config, inputs.parents, seeds={"preferences": config.seed}, resume=resume)
    if isinstance(draft, Artifact):
        return draft
    comparisons = _sample(list(inputs.comparisons), config)
    every: list[Judgment] = []
    for number, comparison in enumerate(comparisons, start=1):
        every += inputs.judge(comparison)
        if number % 100 == 0 or number == len(comparisons):
            progress.update(number, len(comparisons), {"judgments": len(every)})
    versions = {**inputs.versions, inputs.guideline.guideline_hash: inputs.guideline.version}
    judgments, left_out = leave_out(every, config.without_guidelines, config.without_raters, versions)
    if not judgments:
        raise TruingError(f"none of {len(comparisons)} comparisons is judged: the judgments must be of {name}'s own comparisons")
    pairs = soft_labels(comparisons, judgments, config.labels)
    train, heldout = split(pairs, config)
    carried = carried_over(inputs.earlier, inputs.guideline, {_key(p, config) for p in heldout}, config) if inputs.earlier else []
    write_records(draft.path / "comparisons.jsonl", comparisons)
    write_records(draft.path / "judgments.jsonl", judgments)
    extra: dict[str, JsonValue] = {
        "judgments": len(judgments),
        "raters": len({j.rater_id for j in judgments}),
        "comparisons_without_judgment": len(comparisons) - len(pairs),
        "judgments_left_out": len(every) - len(judgments),
        "guideline_versions": {digest: versions.get(digest) for digest in sorted({j.guideline_hash for j in judgments})},
        "carried_over": len(carried),
        "oracle_accuracy": _oracle(heldout, inputs) if inputs.expected and config.labels == "majority" else None,
    }
    said = (*inputs.notes, *notes(left_out))
    return _publish(draft, [*train, *carried], heldout, inputs.guideline, extra, config, said)


def freeze_pairs(config: FreezeConfig, inputs: FileInputs, store: Store, name: str, *, resume: bool = False) -> Artifact:
    """Publish people's judged pairs as a set."""
    draft = store.begin("preferences", name, config, inputs.parents, seeds={"preferences": config.seed}, resume=resume)
    if isinstance(draft, Artifact):
        return draft
    if config.without_guidelines or config.without_raters:
        raise TruingError(
            f"{inputs.source} names no raters or guidelines, so none can be left out. Make a judgment set of the judgments "
            "behind it (`truing convert FILE --out DIR`) and give that as --comparisons"
        )
    pairs = _sample(list(inputs.pairs), config)
    train, heldout = split(pairs, config)
    extra: dict[str, JsonValue] = {"judgments": sum(p.judgments for p in pairs), "raters": None, "oracle_accuracy": None}
    note = f"judged by people, as given in {inputs.source}"
    return _publish(draft, train, heldout, inputs.guideline, extra, config, (note,))


def split(pairs: Sequence[PreferencePair], config: FreezeConfig) -> Split[PreferencePair]:
    """Training and held-out pairs that share no prompt (or no group). Raises TruingError where nothing could be held out."""
    return split_by(pairs, lambda pair: _key(pair, config), config.heldout_fraction, config.seed)


def carried_over(earlier: Path, guideline: Guideline, held_keys: set[str], config: FreezeConfig) -> list[PreferencePair]:
    """Training pairs of the set before, less those of held-out prompts; superseded ones at their weight, 0 leaving them out."""
    before = read_artifact(earlier)
    text = (before.path / "guideline.md").read_text(encoding="utf-8")
    old = Guideline(version=0, text=text)
    current = {guideline.guideline_hash}
    if not set(guideline.clauses) - set(old.clauses):
        current.add(old.guideline_hash)
    pairs = [p for p in read_records(before.path / "train.jsonl", PreferencePair) if _key(p, config) not in held_keys]
    weighted = [(p, p.weight if p.guideline_hash in current else config.superseded_weight) for p in pairs]
    return [p.model_copy(update={"weight": weight}) for p, weight in weighted if weight > 0]


def longer_wins(pairs: Sequence[PreferencePair], config: FreezeConfig) -> Estimate | None:
    """Accuracy of choosing the answer with more characters (equal lengths half), on pairs that are not ties."""
    decided = [p for p in pairs if p.label > 0.5]
    if not decided:
        return None
    right = [_longer(p) for p in decided]
    return wilson_clustered(right, [_key(p, config) for p in decided])


def best_agreement(p: float, raters: int) -> float:
    """Highest possible agreement with the majority of `raters` votes drawn with P(first) = p, where the majority is decided."""
    wins = [comb(raters, k) * p**k * (1 - p) ** (raters - k) for k in range(raters + 1)]
    first = sum(w for k, w in enumerate(wins) if 2 * k > raters)
    second = sum(w for k, w in enumerate(wins) if 2 * k < raters)
    return max(first, second) / (first + second)


def _oracle(heldout: Sequence[PreferencePair], inputs: JudgedInputs) -> float | None:
    """What the raters' own noise allows: mean best agreement over the held-out pairs that were decided."""
    assert inputs.expected is not None
    by_id = {c.comparison_id: c for c in inputs.comparisons}
    decided = [p for p in heldout if p.label > 0.5]
    if not decided:
        return None
    return sum(best_agreement(inputs.expected(by_id[p.comparison_id]), p.judgments) for p in decided) / len(decided)


def _longer(pair: PreferencePair) -> float:
    gap = len(pair.chosen) - len(pair.rejected)
    return 0.5 if gap == 0 else float(gap > 0)


def _key(pair: PreferencePair, config: FreezeConfig) -> str:
    if config.split_by == "prompt":
        return pair.prompt.prompt_id
    group = pair.prompt.meta.get("group")
    if group is None:
        raise TruingError("split_by = 'group': a pair names no group. Add a 'group' column, or split by prompt.")
    return str(group)


def _sample(rows: list[RowT], config: FreezeConfig) -> list[RowT]:
    if config.max_pairs is None or len(rows) <= config.max_pairs:
        return rows
    return random.Random(config.seed).sample(rows, config.max_pairs)


def _publish(
    draft: Draft,
    train: Sequence[PreferencePair],
    heldout: Sequence[PreferencePair],
    guideline: Guideline,
    extra: Mapping[str, JsonValue],
    config: FreezeConfig,
    notes: tuple[str, ...] = (),
) -> Artifact:
    simulated = any(p.simulated for p in [*train, *heldout])
    baseline = longer_wins(heldout, config)
    summary: dict[str, JsonValue] = {
        "pairs_train": len(train),
        "pairs_heldout": len(heldout),
        "ties_heldout": sum(p.label == 0.5 for p in heldout),
        "rankings_train": len({(p.prompt.prompt_id, p.ranking) for p in train if p.ranking}),
        "simulated": simulated,
        "guideline_version": guideline.version,
        "guideline_hash": guideline.guideline_hash,
        "longer_wins": baseline.model_dump() if baseline else None,
        "set_hash": content_hash([p.model_dump(mode="json") for p in [*train, *heldout]]),
        **extra,
    }
    write_records(draft.path / "train.jsonl", train)
    write_records(draft.path / "heldout.jsonl", heldout)
    write_text(draft.path / "guideline.md", guideline.text)
    write_json(draft.path / "summary.json", summary)
    plain = {key: value for key, value in summary.items() if isinstance(value, int | float | str) or value is None}
    return draft.publish({**plain, "longer_wins": baseline}, (*notes, *([SIMULATED_NOTE] if simulated else [])))


def guideline_version(artifact: Artifact) -> int:
    """The version of the guideline that a preference set was judged under."""
    return int(read_json(artifact.path / "summary.json")["guideline_version"])


def people_judgments(path: str | None, comparisons: Path) -> Path:
    """The file of people's judgments. Raises TruingError saying what to have judged, where there is none yet."""
    if path is not None and Path(path).exists():
        return Path(path)
    missing = f"{path} is not there yet" if path else "preferences.judgments names no file"
    raise TruingError(
        f"people's judgments are needed: {missing}. Have {comparisons} judged (one line of JSON a judgment: comparison_id, "
        "rater_id, guideline_hash, left, choice, confidence, simulated), name the file as preferences.judgments, and run again "
        "with --resume."
    )


def by_comparison(judgments: Iterable[Judgment]) -> Judge:
    """A judge that looks judgments up; a comparison nobody judged has none."""
    found: dict[str, list[Judgment]] = defaultdict(list)
    for judgment in judgments:
        found[judgment.comparison_id].append(judgment)
    return lambda comparison: found.get(comparison.comparison_id, [])
