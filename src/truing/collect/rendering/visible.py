"""Text that people did not write is hostile: on a page it is escaped, and what would hide, reorder or imitate it is shown.

Shown by code point are control, format (bidirectional, zero-width), surrogate, private-use and unassigned characters, line and
paragraph separators, letters that draw nothing, variation selectors and joiners outside the emoji and scripts that need them,
and combining marks beyond a handful. Letters of another alphabet that pass for Latin ones inside a Latin word are marked.

Line feeds, tabs and ordinary spaces stay as they are. Other spaces (no-break, thin, ideographic) do too while few stand in a
row: French puts one before a colon, numbers have them, Chinese indents by two, and nothing hides behind them. A long run pads a
text or moves a part out of sight, since these spaces neither collapse nor break: it is shown by code point, with its length.
In code each of them is: it looks like a space, and the program does not run.
"""

from __future__ import annotations

import re
import unicodedata

from markupsafe import Markup, escape

_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_BLANK_LETTERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters, marks and symbols that draw nothing (grapheme joiner, Hangul fillers, Khmer inherent vowels, blank Braille)."""
_ZWNJ, _ZWJ = "\u200c", "\u200d"
_VIRAMA = 9
"""Unicode combining class of the Indic sign after which a joiner chooses the shape (UAX #31, contexts A2 and B)."""
_MOST_MARKS = 4
"""Combining marks in a row that some language needs; more of them reach over the lines above."""
MOST_SPACES = 4
"""Spaces other than the ordinary one in a row of spaces that honest text needs, for an indent."""
_SPACES = re.compile("[ \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]+")
_LOOKALIKES = frozenset("аеорсухіјѕһԁԛԝАВЕКМНОРСТХЅІЈҮοινΑΒΕΖΗΙΚΜΝΟΡΤΥΧ")
"""Cyrillic and Greek letters drawn like Latin ones."""

_CANDIDATE = re.compile(r"[^\x20-\x7e\n\t]")
_LATIN_WORD = re.compile(r"\w*[A-Za-z]\w*")


def visible(text: str, *, most_spaces: int = MOST_SPACES) -> Markup:
    """`text` escaped, with every character that a reader could not see, or would take for another, shown for what it is.

    `most_spaces`: how many spaces other than the ordinary one may stand in a row; 0 for code.
    """
    imitations = _imitations(text)
    parts: list[Markup] = []
    end = 0
    for match in _CANDIDATE.finditer(text):
        at = match.start()
        if at < end:
            continue
        if at in imitations:
            parts += escape(text[end:at]), _imitation(text[at])
            end = at + 1
        elif _is_hidden(text, at):
            stop = next((i for i in range(at, len(text)) if text[i] != text[at]), len(text))
            parts += escape(text[end:at]), _code_points(text[at:stop])
            end = stop
        elif (run := _SPACES.match(text, at)) and len(run[0]) - run[0].count(" ") > most_spaces:
            parts += escape(text[end:at]), _code_points(run[0])
            end = run.end()
    return Markup("").join([*parts, escape(text[end:])])


def _is_hidden(text: str, at: int) -> bool:
    character = text[at]
    category = unicodedata.category(character)
    if category.startswith("M"):
        return character in _BLANK_LETTERS or _is_odd_selector(text, at) or _is_piled_up(text, at)
    if character in {_ZWNJ, _ZWJ}:
        return not _joiner_has_use(text, at)
    return category in _HIDDEN or character in _BLANK_LETTERS


def _is_odd_selector(text: str, at: int) -> bool:
    """A variation selector, unless it is the one of an emoji."""
    if "VARIATION SELECTOR" not in unicodedata.name(text[at], ""):
        return False
    before = text[at - 1] if at else ""
    is_keycap = before in set("0123456789#*") and text[at + 1 : at + 2] == "\u20e3"
    return text[at] not in "\ufe0e\ufe0f" or not (is_keycap or unicodedata.category(before or " ") in {"So", "Sm", "Po"})


def _is_piled_up(text: str, at: int) -> bool:
    marks = text[max(0, at - _MOST_MARKS) : at]
    return len(marks) == _MOST_MARKS and all(unicodedata.category(c) in {"Mn", "Me"} for c in marks)


def _joiner_has_use(text: str, at: int) -> bool:
    """Inside an emoji, after a virama, or (non-joiner) between two Arabic letters."""
    before, after = text[at - 1 : at], text[at + 1 : at + 2]
    if not before or not after:
        return False
    if unicodedata.combining(before) == _VIRAMA:
        return True
    if text[at] == _ZWNJ:
        return all(unicodedata.name(c, "").startswith("ARABIC LETTER") for c in (before, after))
    return (unicodedata.category(before) in {"So", "Sk"} or before == "\ufe0f") and unicodedata.category(after) in {"So", "Sm"}


def _imitations(text: str) -> set[int]:
    if _LOOKALIKES.isdisjoint(text):
        return set()
    words = (match for match in _LATIN_WORD.finditer(text) if not _LOOKALIKES.isdisjoint(match[0]))
    return {word.start() + index for word in words for index, c in enumerate(word[0]) if c in _LOOKALIKES}


def _code_points(run: str) -> Markup:
    """The first character of a run, how many there are, and in a title what they are."""
    names = ", ".join(dict.fromkeys(unicodedata.name(character, "control character") for character in run))
    repeated = f" ×{len(run)}" if len(run) > 1 else ""
    return Markup('<span class="hidden-char" title="{}">U+{:04X}{}</span>').format(names, ord(run[0]), repeated)


def _imitation(character: str) -> Markup:
    return Markup('<span class="lookalike" title="{}">{}</span>').format(unicodedata.name(character), character)
