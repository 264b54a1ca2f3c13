"""Errors a person can act on. The command line prints them without a traceback and exits with 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TruingError(Exception):
    """Something the user can mend: what is wrong, where, and what to do next."""


def nearest(word: str, candidates: Iterable[str]) -> str:
    """A "; did you mean ...?" suffix naming the closest candidate, or the empty string."""
    match = difflib.get_close_matches(word, list(candidates), n=1, cutoff=0.6)
    return f"; did you mean '{match[0]}'?" if match else ""
