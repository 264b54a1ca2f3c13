"""Model output is hostile text: on a terminal it could move the cursor, set the title or hide what was said."""

from __future__ import annotations

import unicodedata

_KEPT = {"\n", "\t"}
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn"}
"""Unicode categories that a terminal acts on or hides: control, format (bidirectional marks), surrogate, private, unassigned."""


def for_terminal(text: str) -> str:
    """`text` with every control and format character replaced by U+FFFD; line breaks and tabs stay."""
    return "".join(c if c in _KEPT or unicodedata.category(c) not in _HIDDEN else "�" for c in text)
