"""Model output is hostile text: on a page it is escaped, and what would hide or reorder it is shown."""

from __future__ import annotations

import unicodedata

from markupsafe import Markup, escape

_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Control, format (bidirectional, zero-width), surrogate, private, unassigned, and the two separators that break lines."""


def visible(text: str) -> Markup:
    """`text` escaped, with every character that a reader could not see shown by its code point. Line feeds stay."""
    return Markup("").join(_shown(c) if _is_hidden(c) else escape(c) for c in text)


def _is_hidden(character: str) -> bool:
    if character in " \n":
        return False
    category = unicodedata.category(character)
    return category in _HIDDEN or category == "Zs" or "VARIATION SELECTOR" in unicodedata.name(character, "")


def _shown(character: str) -> Markup:
    point = f"U+{ord(character):04X}"
    return Markup('<span class="hidden-char" title="{}">{}</span>').format(
        unicodedata.name(character, "control character"), point
    )
