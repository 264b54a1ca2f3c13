"""What differs between two texts, in words.

The longest common subsequence of words, by the bit-parallel algorithm of Hyyrö (2004, "Bit-parallel LCS-length computation
revisited"): one row of bits a word, so that two independent answers of thousands of words take a fraction of a second, where
difflib can take minutes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from markupsafe import Markup

from truing.collect.rendering.visible import visible

MOST_WORDS = 8_000
"""Words, spaces and signs of either text; longer texts are compared by line, and those with more lines as a whole."""

Kind = Literal["same", "removed", "added"]
_WORDS = re.compile(r"\w+|\s+|[^\w\s]")
_LINES = re.compile(r"[^\n]*\n|[^\n]+")
_SAYS: dict[Kind, str] = {"removed": "removed: ", "added": "added: "}


@dataclass(frozen=True)
class Piece:
    """A run of text that both have, or only the one before ("removed") or after ("added")."""

    kind: Kind
    text: str


def word_diff(before: str, after: str) -> tuple[Piece, ...]:
    """Runs of text in order: "same" and "removed" together are `before`, "same" and "added" together are `after`.

    A short run that two changes have between them by chance is counted to both, so that a change reads as one.
    """
    for pattern in (_WORDS, _LINES):
        units = pattern.findall(before), pattern.findall(after)
        if max(map(len, units)) <= MOST_WORDS:
            return tuple(_joined(_without_specks(tuple(_joined(_aligned(*units))))))
    return tuple(_joined((Piece("removed", before), Piece("added", after))))


def change(pieces: Sequence[Piece]) -> Markup:
    """A new version against the one before: `<del>` and `<ins>`, each announced to those who do not see them."""
    tags = {"removed": "del", "added": "ins"}
    return Markup("").join(
        visible(p.text)
        if p.kind == "same"
        else Markup('<{0}><span class="visually-hidden">{1}</span>{2}</{0}>').format(tags[p.kind], _SAYS[p.kind], visible(p.text))
        for p in pieces
    )


def side(pieces: Sequence[Piece], only: Literal["removed", "added"]) -> Markup:
    """One of two answers, with what the other has not marked. Both sides are marked alike: neither is the one that changed."""
    said = Markup('<mark><span class="visually-hidden">only here: </span>{}</mark>')
    shown = (p for p in pieces if p.kind in {"same", only})
    return Markup("").join(visible(p.text) if p.kind == "same" else said.format(visible(p.text)) for p in shown)


def _aligned(before: Sequence[str], after: Sequence[str]) -> Iterator[Piece]:
    """Both texts word by word, along a longest common subsequence, removals before additions."""
    rows = _rows(before, after)
    backwards: list[Piece] = []
    i, j = len(before), len(after)
    while i and j:
        if rows[i] >> (j - 1) & 1:
            j -= 1
            backwards.append(Piece("added", after[j]))
        elif not rows[i - 1] >> (j - 1) & 1:
            i -= 1
            backwards.append(Piece("removed", before[i]))
        else:
            i, j = i - 1, j - 1
            backwards.append(Piece("same", after[j]))
    backwards += [Piece("added", word) for word in reversed(after[:j])]
    backwards += [Piece("removed", word) for word in reversed(before[:i])]
    return reversed(backwards)


def _rows(before: Sequence[str], after: Sequence[str]) -> list[int]:
    """Row i has bit j clear where the j-th word of `after` lengthens the subsequence with the first i of `before`."""
    everywhere = (1 << len(after)) - 1
    places: dict[str, int] = {}
    for place, word in enumerate(after):
        places[word] = places.get(word, 0) | 1 << place
    rows = [everywhere]
    for word in before:
        row = rows[-1]
        common = row & places.get(word, 0)
        rows.append(((row + common) | (row - common)) & everywhere)
    return rows


def _joined(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Neighbouring pieces of a kind as one; between two stretches in common, what was removed before what was added."""
    for is_same, group in groupby(pieces, key=lambda p: p.kind == "same"):
        run = list(group)
        kinds: tuple[Kind, ...] = ("same",) if is_same else ("removed", "added")
        for kind in kinds:
            text = "".join(p.text for p in run if p.kind == kind)
            if text:
                yield Piece(kind, text)


def _without_specks(pieces: Sequence[Piece]) -> Iterator[Piece]:
    """Common runs no longer than the changes on either side become part of them."""
    for place, piece in enumerate(pieces):
        if piece.kind == "same" and 0 < place < len(pieces) - 1 and _is_speck(pieces, place):
            yield Piece("removed", piece.text)
            yield Piece("added", piece.text)
        else:
            yield piece


def _is_speck(pieces: Sequence[Piece], place: int) -> bool:
    before = max(len(p.text) for p in pieces[max(0, place - 2) : place] if p.kind != "same")
    after = max(len(p.text) for p in pieces[place + 1 : place + 3] if p.kind != "same")
    return len(pieces[place].text.strip()) <= min(before, after) // 2
