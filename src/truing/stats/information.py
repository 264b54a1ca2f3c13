"""Covariance where something was not observed: the inverse of complete information less what is missing (Louis 1982)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MOST_MISSING = 0.95


def covariance(complete_RDD: Floats, missing_RDD: Floats) -> Floats:
    """Inverse of `complete - missing`, for R matrices at once, complete ones positive definite. Shape (R, D, D).

    What is missing counts for at most MOST_MISSING of the complete in any direction, so that the inverse exists where next to
    nothing is known.
    """
    inverse = np.linalg.inv(np.linalg.cholesky(complete_RDD))
    missing = inverse @ missing_RDD @ inverse.transpose(0, 2, 1)
    values, vectors = np.linalg.eigh(missing)
    left = inverse.transpose(0, 2, 1) @ vectors
    return np.asarray((left / (1 - np.minimum(values, MOST_MISSING))[:, None, :]) @ left.transpose(0, 2, 1))
