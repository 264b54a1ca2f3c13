"""Items whose better answer is known: what gold says of their quality, and through them of what all raters have in common.

    dq_i ~ N(clarity * side_i, GOLD_SD)        whatever the item's style

Nothing here depends on what raters like. So what they answer on gold beyond its quality is bias, also where all share it, and
what style is worth follows: elsewhere a rater's slope on style is bias and worth together. Which side gold takes says nothing of
style: gold may have been picked so that long and short win alike.

How clear gold is, is estimated with the raters: picked for being sure, or drawn like any other comparison.

Legend: J comparisons, K style columns.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from truing.errors import TruingError
from truing.raters.evidence import Quality
from truing.raters.population import EffectEvidence

Floats = NDArray[np.float64]
START_CLARITY = 1.5
LEAST_CLARITY = float(np.sqrt(2 / np.pi))
"""Of any comparison: the mean size of a standard normal. Below it the crowd would be trusted more than gold."""
GOLD_SD = 0.5
PRIOR_ITEMS = 4.0
MOST_MISSING = 0.95


class Gold(NamedTuple):
    """`side_J` is +1, 0 or -1 where the better answer is known (0: a tie) and NaN elsewhere."""

    side_J: Floats
    clarity: float = START_CLARITY

    @property
    def known(self) -> NDArray[np.intp]:
        """The items that have a known answer."""
        return np.flatnonzero(np.isfinite(self.side_J))

    def prior(self, style_JK: Floats, effect_K: Floats) -> Quality:
        """Of quality beyond what style explains: standard normal, or what gold says."""
        mean, sd, known = np.zeros(len(style_JK)), np.ones(len(style_JK)), self.known
        mean[known] = self.clarity * self.side_J[known] - style_JK[known] @ effect_K
        sd[known] = GOLD_SD
        return Quality(mean, sd)

    def effects(self, style_JK: Floats, prior: Quality, quality: Quality) -> EffectEvidence:
        """What raters' answers to gold say of style's effect on quality: `prior` was moved by it, `quality` is the posterior."""
        known = self.known
        style, variance = style_JK[known], GOLD_SD**2
        missed = (quality.mean_J - prior.mean_J)[known] / variance
        missing = np.minimum(quality.sd_J[known] ** 2 / variance, MOST_MISSING)
        return EffectEvidence(-(missed @ style), (style * (1 - missing)[:, None] / variance).T @ style)

    def judged(self, style_JK: Floats, effect_K: Floats, quality: Quality) -> Gold:
        """The same with its clarity as the judgments show it: one EM step, under a prior of PRIOR_ITEMS items."""
        decided = np.flatnonzero(np.abs(self.side_J) == 1)
        dq = quality.mean_J[decided] + style_JK[decided] @ effect_K
        mean = (dq @ self.side_J[decided] + PRIOR_ITEMS * START_CLARITY) / (len(decided) + PRIOR_ITEMS)
        return self._replace(clarity=max(float(mean), LEAST_CLARITY))


def make_gold(gold_J: ArrayLike | None, n_items: int) -> Gold:
    """Checked; None where no answer is known. Raises TruingError where it does not fit."""
    side = np.full(n_items, np.nan) if gold_J is None else np.asarray(gold_J, dtype=np.float64)
    if side.shape != (n_items,) or not np.isin(side[np.isfinite(side)], (-1, 0, 1)).all():
        raise TruingError(f"gold: one for each of {n_items} comparisons, +1 first, 0 tie, -1 second, NaN where it is not known")
    return Gold(side)
