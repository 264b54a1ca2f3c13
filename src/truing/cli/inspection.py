"""Verbs that only read: report, lineage, status."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from truing.cli.options import AsJson, Root

RunFolder = Annotated[Path, typer.Argument(metavar="DIR", help="A run's folder.")]


def report(folder: RunFolder, json: AsJson = False) -> None:
    """Write report.html and report.json from what a run left on disk."""
    from truing.cli.output import print_file, print_text
    from truing.program.report.build import build

    page = build(folder)
    if json:
        print_file(folder / "report.json")
    else:
        print_text(str(page))


def lineage(
    artifact: Annotated[str, typer.Argument(metavar="ARTIFACT", help="An artifact's folder, name, or hash prefix.")],
    root: Root = None,
    json: AsJson = False,
) -> None:
    """Show what an artifact was made from, back to judgments, raters and guideline."""
    from truing.cli.output import print_text
    from truing.program import lineage as tree

    found, run_root = tree.find(artifact, root)
    node = tree.trace(found, tree.known_roots(run_root))
    print_text(node.to_json() if json else tree.render(node))


def status(folder: RunFolder, json: AsJson = False) -> None:
    """Show where a run stands."""
    from truing.cli.output import print_text
    from truing.program.status import read_status, render_status

    state = read_status(folder)
    print_text(state.to_json() if json else render_status(state))
