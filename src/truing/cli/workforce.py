"""Verbs about judgments already made: who raters are, and which policy they prefer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from truing.cli.options import AsJson

JudgmentsArgument = Annotated[
    Path, typer.Argument(metavar="JUDGMENTS", help="A judgment set or a preference set (folders), or a judgments.jsonl.")
]
ComparisonsArgument = Annotated[
    Path | None, typer.Argument(metavar="[COMPARISONS]", help="Comparisons judged (default: comparisons.jsonl beside them).")
]


def raters(
    judgments: JudgmentsArgument,
    comparisons: ComparisonsArgument = None,
    page: Annotated[Path | None, typer.Option("--page", metavar="FILE", help="Also write a page with plots (HTML).")] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Raters to show, those with most judgments.")] = 30,
    json: AsJson = False,
) -> None:
    """Show what judgments say of their raters: agreement, reliability, biases, checks, and what to do next."""
    from truing.cli.output import print_notice, print_text
    from truing.program.judged import read_judged
    from truing.program.workforce import render_assessment
    from truing.program.workforce_page import render_page
    from truing.raters.assessment import assess
    from truing.store.files import write_text

    judged = read_judged(judgments, comparisons)
    found = assess(judged.comparisons, judged.judgments)
    if page is not None:
        write_text(page, render_page(found))
        print_notice(f"page written to {page}")
    print_text(found.to_json() if json else render_assessment(found, top))


def leaderboard(
    judgments: JudgmentsArgument,
    comparisons: ComparisonsArgument = None,
    style_control: Annotated[
        bool, typer.Option("--style-control/--no-style-control", help="Take off what length, markdown, agreement and side gain.")
    ] = True,
    json: AsJson = False,
) -> None:
    """Rank policies by the judgments of their answers, with intervals."""
    from truing.cli.output import print_text
    from truing.program.judged import read_judged
    from truing.program.workforce import render_leaderboard
    from truing.raters.leaderboard import leaderboard as fit

    judged = read_judged(judgments, comparisons)
    found = fit(judged.comparisons, judged.judgments, style_control=style_control)
    print_text(found.to_json() if json else render_leaderboard(found))
