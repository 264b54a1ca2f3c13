"""Marker phrases in text: found as whole words, whatever their case and apostrophes. Pure and torch-free."""

from __future__ import annotations

import re
from functools import lru_cache

AGREEMENT = (
    "you are right", "you're right", "you are correct", "you're correct", "i agree", "as you said",
    "you are absolutely right", "you're absolutely right",
)  # fmt: skip
"""Phrases that agree with the user. Generic English."""


@lru_cache(maxsize=256)
def phrase_pattern(phrases: tuple[str, ...]) -> re.Pattern[str]:
    """A pattern that finds any of `phrases` as whole words, with any white space between them. Use it on `plain` text."""
    alternatives = "|".join(r"\s+".join(map(re.escape, plain(p).split())) for p in sorted(phrases, key=len, reverse=True))
    return re.compile(rf"(?<!\w)(?:{alternatives})(?!\w)" if phrases else r"(?!)")


@lru_cache(maxsize=65536)
def has_phrase(text: str, phrases: tuple[str, ...]) -> bool:
    """True where `text` holds one of `phrases`."""
    return phrase_pattern(phrases).search(plain(text)) is not None


def plain(text: str) -> str:
    """Lower case with typewriter apostrophes."""
    return text.replace("\u2019", "'").lower()
