"""The verb that decides what raters are asked next."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from truing.cli.options import AsJson, RewardModel


def select(
    pool: Annotated[Path, typer.Argument(metavar="POOL", help="Comparisons that could be judged (comparisons.jsonl).")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the batch.")],
    budget: Annotated[int, typer.Option("--budget", min=1, help="Comparisons to select.")],
    strategy: Annotated[
        str,
        typer.Option(
            "--strategy",
            metavar="NAME",
            help="uniform, ensemble_variance, large_gap, fisher_information, judge_disagreement or findings_first.",
        ),
    ] = "uniform",
    uniform_share: Annotated[
        float, typer.Option("--uniform-share", help="Share of the probability that goes to all comparisons alike.")
    ] = 0.15,
    reward: RewardModel = None,
    scores: Annotated[Path | None, typer.Option("--scores", metavar="FILE", help="An earlier batch's scores.jsonl.")] = None,
    judge: Annotated[Path | None, typer.Option("--judge", metavar="FILE", help="A judge's judgments of the pool.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the draw.")] = 0,
    json: AsJson = False,
) -> None:
    """Select which comparisons raters see next, each with the probability that it was selected."""
    from truing.cli.output import print_text
    from truing.config import validate
    from truing.program.selecting import PoolFiles, select
    from truing.records import canonical_json
    from truing.selection.config import SelectionConfig

    values = {"budget": budget, "strategy": strategy, "uniform_share": uniform_share, "seed": seed}
    config = validate(SelectionConfig, values, "truing select")
    files = PoolFiles(pool, None if reward is None else Path(reward), scores, judge)
    summary = select(files, config, out)
    print_text(canonical_json(summary) if json else "\n".join(f"{name}: {value}" for name, value in summary.items()))
