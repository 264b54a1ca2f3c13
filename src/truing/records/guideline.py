"""Versioned guidelines: a Markdown document whose clauses carry ids, identified by its hash."""

from __future__ import annotations

import hashlib
import re
from functools import cached_property
from typing import Self

from truing.records.base import Record

_CLAUSE = re.compile(r"^##\s+(?P<title>.+?)\s*\{#(?P<id>[a-z0-9-]+)\}\s*$", re.MULTILINE)


class Clause(Record):
    """One section of a guideline: its id, its title and its Markdown. The text before the first heading has the id ""."""

    clause_id: str
    title: str
    body: str


class Guideline(Record):
    """What raters follow. A clause is a second-level heading with an id: `## Prefer the shorter answer {#length}`."""

    version: int
    text: str

    @cached_property
    def guideline_hash(self) -> str:
        """sha256 (hex) of the text: what each judgment carries."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def clauses(self) -> tuple[str, ...]:
        """The ids of the clauses, in order."""
        return tuple(match["id"] for match in _CLAUSE.finditer(self.text))

    @cached_property
    def sections(self) -> tuple[Clause, ...]:
        """The text cut at its clauses, in order; what stands before the first one comes first, where there is any."""
        matches = list(_CLAUSE.finditer(self.text))
        ends = [m.start() for m in matches[1:]] + [len(self.text)]
        opening = self.text[: matches[0].start()] if matches else self.text
        found = [Clause(clause_id="", title="", body=opening.strip())] if opening.strip() else []
        bodies = (self.text[match.end() : end].strip() for match, end in zip(matches, ends, strict=False))
        return (*found, *(Clause(clause_id=m["id"], title=m["title"], body=b) for m, b in zip(matches, bodies, strict=True)))

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
