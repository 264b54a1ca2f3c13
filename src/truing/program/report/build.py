"""Write a run's report: report.json for machines, report.html for people.

truing report runs/quickstart
"""

from __future__ import annotations

from pathlib import Path

from truing.program.report.data import collect
from truing.program.report.page import render
from truing.store.files import write_json, write_text


def build(root: Path) -> Path:
    """Read what a run left under `root`, write report.json and report.html there, and return the page's path.

    Raises TruingError where no stage has finished there.
    """
    report = collect(root)
    page = render(report)
    write_json(root / "report.json", report.model_dump(mode="json"))
    write_text(root / "report.html", page)
    return root / "report.html"
