"""A batch of comparisons for raters, drawn from a pool ahead of time: raters wait for no model.

    truing select pool.jsonl --reward runs/mine/round-1/reward --strategy ensemble_variance --budget 500 --out batches/7

Writes `comparisons.jsonl`, each with its strategy and propensity; `scores.jsonl`, what the ensemble says of the whole pool, to
select again without it; and `summary.json`. In a run it is a stage, from round 2 on, where `preferences.selection.pool` is set.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from truing.errors import TruingError
from truing.models.config import LoadSettings
from truing.records import Comparison, Judgment
from truing.selection.config import SelectionConfig
from truing.selection.draw import draw
from truing.selection.evaluation import effective_sample_size
from truing.selection.pool import PairScores, Pool
from truing.store.artifacts import Artifact, Store
from truing.store.files import read_records, write_json, write_records


@dataclass(frozen=True)
class PoolFiles:
    """Comparisons that could be judged, and what is known of them: a reward artifact or its scores, a judge's judgments."""

    comparisons: Path
    reward: Path | None = None
    scores: Path | None = None
    judge: Path | None = None
    load: LoadSettings | None = None
    """How the reward model is loaded."""


def run(
    config: SelectionConfig, files: PoolFiles, parents: Mapping[str, str], store: Store, name: str, *, resume: bool = False
) -> Artifact:
    """Draw the batch and publish it."""
    draft = store.begin("selection", name, config, parents, seeds={"selection": config.seed}, resume=resume)
    if isinstance(draft, Artifact):
        return draft
    summary = _draw(files, config, draft.path)
    return draft.publish({key: value for key, value in summary.items() if isinstance(value, int | float | str)})


def select(files: PoolFiles, config: SelectionConfig, out: Path) -> dict[str, JsonValue]:
    """Draw the batch into the folder `out`; returns its summary.

    Raises TruingError where `out` holds a batch already, a file cannot be read, or the strategy lacks what it needs.
    """
    if (out / "comparisons.jsonl").exists():
        raise TruingError(f"{out} holds a batch already: name another folder with --out")
    return _draw(files, config, out)


def _draw(files: PoolFiles, config: SelectionConfig, out: Path) -> dict[str, JsonValue]:
    if files.reward is not None and files.scores is not None:
        raise TruingError("give --reward or --scores, not both: scores are what a reward ensemble said before")
    comparisons = read_records(files.comparisons, Comparison)
    scores = _scores(files, comparisons)
    judged = None if files.judge is None else read_records(files.judge, Judgment)
    drawn = draw(Pool.of(comparisons, scores, judged), config)
    summary: dict[str, JsonValue] = {
        "pool": len(comparisons),
        "batch": len(drawn.batch),
        "strategy": config.strategy,
        "by_strategy": dict(Counter(c.strategy for c in drawn.batch)),
        "lowest_propensity": float(drawn.propensity_N.min()),
        "effective_sample_size": effective_sample_size([c.propensity or 0.0 for c in drawn.batch]),
        "seed": config.seed,
    }
    out.mkdir(parents=True, exist_ok=True)
    if scores is not None:
        write_records(out / "scores.jsonl", scores)
    write_json(out / "summary.json", summary)
    write_records(out / "comparisons.jsonl", drawn.batch)
    return summary


def _scores(files: PoolFiles, comparisons: list[Comparison]) -> list[PairScores] | None:
    if files.scores is not None:
        return read_records(files.scores, PairScores)
    if files.reward is None:
        return None
    from truing.evals.pair_scores import score_pairs
    from truing.models.reward import RewardEnsemble

    return score_pairs(RewardEnsemble.load(files.reward, files.load), comparisons)
