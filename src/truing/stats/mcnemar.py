"""McNemar's exact test: two versions on the same prompts, yes or no each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import special

from truing.records import Estimate, Record
from truing.stats.intervals import bootstrap_paired


class PairedTest(Record):
    """Prompts on which only the first, or only the second, said yes; the exact two-sided p-value; first - second in rate."""

    first_only: int
    second_only: int
    p_value: float
    difference: Estimate


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> PairedTest:
    """Exact McNemar test (binomial with p = 1/2 on the discordant pairs; McNemar 1947) with the difference's interval."""
    a, b = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    first_only, second_only = int((a & ~b).sum()), int((~a & b).sum())
    discordant = first_only + second_only
    p_value = min(1.0, 2 * float(special.bdtr(min(first_only, second_only), discordant, 0.5)))
    return PairedTest(first_only=first_only, second_only=second_only, p_value=p_value, difference=bootstrap_paired(a, b))
