"""Verbs that run or judge the whole loop: quickstart, run, gate, amend."""

from __future__ import annotations

from json import dumps
from pathlib import Path
from typing import Annotated

import typer

from truing.cli.exits import EXIT_HELD
from truing.cli.options import AsJson, Out, Resume, Round, Set, WithoutGuideline, WithoutRater

RunFolder = Annotated[Path, typer.Argument(metavar="DIR", help="A run's folder.")]


def quickstart(out: Out = None, set_: Set = None, resume: Resume = False, json: AsJson = False) -> None:
    """Run two rounds of the whole loop in the embedded world (a few minutes on a laptop)."""
    _run("quickstart", out, set_, resume=resume, json=json)


def run(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe file, or the name of a shipped one.")],
    without_guideline: WithoutGuideline = None,
    without_rater: WithoutRater = None,
    out: Out = None,
    set_: Set = None,
    resume: Resume = False,
    json: AsJson = False,
) -> None:
    """Run the loop that a recipe describes."""
    flags = {"guidelines": without_guideline, "raters": without_rater}
    left_out = [f"preferences.without_{what}={dumps(named)}" for what, named in flags.items() if named]
    _run(recipe, out, [*left_out, *(set_ or [])], resume=resume, json=json)


def gate(
    folder: RunFolder,
    number: Round = None,
    set_: Set = None,
    json: AsJson = False,
) -> None:
    """Decide again whether a round's policy may be released. Exits with 0 for release, 1 for hold."""
    from truing.cli.output import print_gate
    from truing.program.verdict import decide_again

    decision = decide_again(folder, number, set_ or [])
    print_gate(decision, as_json=json)
    if decision.decision == "hold":
        raise typer.Exit(EXIT_HELD)


def amend(
    folder: RunFolder,
    number: Round = None,
    sign: Annotated[str | None, typer.Option("--sign", metavar="NAME", help="Sign the proposals off in this name.")] = None,
    only: Annotated[list[str] | None, typer.Option("--only", metavar="CLAUSE", help="Sign only this clause. Repeatable.")] = None,
) -> None:
    """Read the amendments a round proposes, and sign them off (then go on with `truing run ... --resume`)."""
    from truing.cli.output import print_text
    from truing.program.sign_off import proposals_text, sign_off

    print_text(sign_off(folder, number, sign, only or None) if sign else proposals_text(folder, number))


def _run(recipe: str, out: Path | None, overrides: list[str] | None, *, resume: bool, json: bool) -> None:
    from truing.program.recipe import Recipe

    loaded = Recipe.load(recipe, overrides or [])  # before torch: a mistake in a recipe is told at once

    from truing.cli.output import print_result
    from truing.program import rounds

    result = rounds.run(loaded, out=out, resume=resume, watch=True)
    print_result(result, as_json=json)
