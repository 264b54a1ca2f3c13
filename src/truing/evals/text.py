"""Plain measurements of text: words, repetition, diversity. Pure and torch-free."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache

from truing.data.phrases import plain

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?|[^\w\s]{3,}")


@lru_cache(maxsize=65536)
def words(text: str) -> tuple[str, ...]:
    """Lower-case words; a run of three or more symbols counts as a word, so that junk is seen."""
    return tuple(_WORD.findall(plain(text)))


def ngrams(tokens: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """Runs of n neighbouring words."""
    return [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]


@lru_cache(maxsize=65536)
def repeated_share(text: str, n: int = 3) -> float:
    """Share of n-grams that repeat an earlier one of the same text: 1 - distinct / all; 0 for a text too short to repeat."""
    grams = ngrams(words(text), n)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def distinct_share(texts: Iterable[str], n: int = 2) -> float:
    """distinct-n over a set of texts (Li et al. 2016): distinct n-grams / all n-grams; 0 where there are none."""
    counts = Counter(gram for text in texts for gram in ngrams(words(text), n))
    return len(counts) / counts.total() if counts else 0.0


def match_case(phrase: str, like: str) -> str:
    """`phrase` in lower case where `like` is all lower case, so that a change of wording is not also a change of case."""
    return phrase.lower() if like == like.lower() else phrase
