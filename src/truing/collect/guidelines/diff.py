"""What changed between two versions of a guideline, clause by clause."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from truing.collect.rendering.diff import Piece, word_diff
from truing.records import Clause, Guideline

Kind = Literal["added", "removed", "changed", "same"]


@dataclass(frozen=True)
class ClauseChange:
    """One clause in both versions; `before` or `after` is None where the clause is not in that version."""

    clause_id: str
    before: Clause | None
    after: Clause | None

    @property
    def kind(self) -> Kind:
        """What happened to the clause. A clause that only moved is the same."""
        if self.before is None:
            return "added"
        if self.after is None:
            return "removed"
        return "same" if self.before == self.after else "changed"

    @property
    def title(self) -> str:
        """The clause's title, the newer one where it changed; the id-less opening is called so."""
        clause = self.after or self.before
        assert clause is not None
        return clause.title or "Opening"

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """The clause's text with what was removed and added, in words."""
        return word_diff(_text(self.before), _text(self.after))


def compare(before: Guideline, after: Guideline) -> tuple[ClauseChange, ...]:
    """Every clause of either version, in the order of `after`; a removed one stands where it stood before."""
    old = {c.clause_id: c for c in before.sections}
    new = {c.clause_id: c for c in after.sections}
    order = list(new)
    place = 0
    for clause_id in old:
        if clause_id in new:
            place = order.index(clause_id) + 1
        else:
            order.insert(place, clause_id)
            place += 1
    return tuple(ClauseChange(clause_id, old.get(clause_id), new.get(clause_id)) for clause_id in order)


def changed(before: Guideline, after: Guideline) -> tuple[ClauseChange, ...]:
    """The clauses that a rater who read `before` has to read again."""
    return tuple(change for change in compare(before, after) if change.kind != "same")


def _text(clause: Clause | None) -> str:
    if clause is None:
        return ""
    return f"{clause.title}\n\n{clause.body}" if clause.title else clause.body
