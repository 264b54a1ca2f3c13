"""Training again without a guideline, or without a rater: which judgments are left out, and what is said of it.

truing reward --comparisons sets/june --without-guideline 3 --without-rater rater-17 --out runs/without
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from truing.errors import TruingError, nearest
from truing.records import Judgment

SHORTEST_HASH = 6
"""Characters from which text that could be either is read as the beginning of a hash, not as a version."""


class Kept(NamedTuple):
    """The judgments that stay, and how many went for each thing named ("guideline 3 (ab12...)", "rater rater-17")."""

    judgments: list[Judgment]
    left_out: dict[str, int]


def leave_out(
    judgments: Sequence[Judgment], without_guidelines: Sequence[str], without_raters: Sequence[str], versions: Mapping[str, int]
) -> Kept:
    """Leave out judgments by guideline (a version, or the beginning of a hash) and by rater (a pseudonym).

    `versions`: guideline hash -> version. Raises TruingError for a guideline or rater under or by whom nothing was judged, for a
    version that several guidelines have, and where no judgment would stay.
    """
    by_guideline = Counter(j.guideline_hash for j in judgments)
    by_rater = Counter(j.rater_id for j in judgments)
    hashes = {_guideline(wanted, by_guideline, versions): wanted for wanted in without_guidelines}
    for wanted in without_raters:
        if wanted not in by_rater:
            raise TruingError(f"--without-rater {wanted}: nobody of that name judged here{nearest(wanted, by_rater)}")
    left_out = {f"guideline {hashes[h]} ({h[:12]})": by_guideline[h] for h in hashes}
    left_out |= {f"rater {name}": by_rater[name] for name in without_raters}
    kept = [j for j in judgments if j.guideline_hash not in hashes and j.rater_id not in without_raters]
    if judgments and not kept:
        raise TruingError(f"no judgment stays without {', '.join(left_out)}: leave out less")
    return Kept(kept, left_out)


def notes(left_out: Mapping[str, int]) -> tuple[str, ...]:
    """What a manifest says of it."""
    return tuple(f"without {what}: {count} judgments left out" for what, count in left_out.items())


def _guideline(wanted: str, judged: Mapping[str, int], versions: Mapping[str, int]) -> str:
    """The hash meant by a version ("3", "v3") or by the beginning of a hash."""
    number = wanted.removeprefix("v")
    if number.isdecimal() and len(wanted) < SHORTEST_HASH:
        found = [h for h in judged if versions.get(h) == int(number)]
    else:
        found = [h for h in judged if h.startswith(wanted)] if len(wanted) >= SHORTEST_HASH else []
    if len(found) == 1:
        return found[0]
    there = ", ".join(sorted(f"{h[:12] or 'none'}{f' (version {versions[h]})' if h in versions else ''}" for h in judged))
    problem = "nothing here was judged under it" if not found else "several guidelines are meant"
    raise TruingError(
        f"--without-guideline {wanted}: {problem}. Write a version, or {SHORTEST_HASH} characters of a hash of: {there}"
    )
