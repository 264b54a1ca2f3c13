"""Write the parts of the documentation that are read off the code: the report's schema.

    make docs

A test fails where what is written here is not what stands in docs/.
"""

from __future__ import annotations

import json
from pathlib import Path

from truing.program.report.model import Report

DOCS = Path(__file__).parent


def pages() -> dict[str, str]:
    """File name under docs/ -> its text."""
    return {"report.schema.json": json.dumps(Report.model_json_schema(), indent=2) + "\n"}


if __name__ == "__main__":
    for name, text in pages().items():
        (DOCS / name).write_text(text, encoding="utf-8")
        print(name)
