"""Versioned guidelines: a Markdown document whose clauses carry ids, identified by its hash."""

from __future__ import annotations

import hashlib
import re
from typing import Self

from truing.records.base import Record

_CLAUSE = re.compile(r"^##\s+(?P<title>.+?)\s*\{#(?P<id>[a-z0-9-]+)\}\s*$", re.MULTILINE)


class Guideline(Record):
    """What raters follow. A clause is a second-level heading with an id: `## Prefer the shorter answer {#length}`."""

    version: int
    text: str

    @property
    def guideline_hash(self) -> str:
        """sha256 (hex) of the text: what each judgment carries."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def clauses(self) -> tuple[str, ...]:
        """The ids of the clauses, in order."""
        return tuple(match["id"] for match in _CLAUSE.finditer(self.text))

    def amended(self, clause_id: str, title: str, body: str) -> Self:
        """The next version with a clause added, or its text replaced where the id is already there."""
        block = f"## {title} {{#{clause_id}}}\n\n{body.strip()}\n"
        matches = list(_CLAUSE.finditer(self.text))
        for index, match in enumerate(matches):
            if match["id"] == clause_id:
                end = matches[index + 1].start() if index + 1 < len(matches) else len(self.text)
                tail = self.text[end:]
                text = self.text[: match.start()] + block + ("\n" + tail if tail else "")
                break
        else:
            text = self.text.rstrip() + "\n\n" + block
        return type(self)(version=self.version + 1, text=text)
