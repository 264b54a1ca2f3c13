"""Raters as draws from a population: what shrinks a rater with few judgments toward the others, estimated from all of them.

A rater's parameters in the order of `evidence`: reliability alpha, pull to the left beta, total slopes on style, level offsets.
All are normal around a mean, each with a spread of its own; a total slope's mean is  bias + quality effect * alpha.  That line
through the raters is what tells a taste for style that raters share with each other (their slope at alpha = 0: a bias) from
style that goes with quality (the slope grows with alpha, as everything does that is read off quality).

Legend: R raters, D parameters of a rater.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
PRIOR_SD = 0.3
PRIOR_RATERS = 2.0
MEAN_BIAS_SD = 0.25
QUALITY_EFFECT_SD = 0.5
MEAN_SD = 3.0
MOST_MISSING = 0.95


class Population(NamedTuple):
    """Means and spreads. `effect_D` is the quality effect of a style (0 for what is no style), `effect_variance_D` its variance."""

    mean_D: Floats
    effect_D: Floats
    sd_D: Floats
    mean_variance_D: Floats
    effect_variance_D: Floats

    def expected(self) -> Floats:
        """A rater's parameters where nothing is known of them."""
        return self.mean_D + self.effect_D * self.mean_D[0]

    def to_natural(self) -> Floats:
        """Matrix from a rater's parameters to the same with biases in place of total slopes: bias = slope - effect * alpha."""
        matrix = np.eye(len(self.mean_D))
        matrix[:, 0] -= self.effect_D
        return matrix

    def precision(self) -> Floats:
        """Of the prior, in a rater's parameters. Shape (D, D)."""
        to_natural = self.to_natural()
        return np.asarray(to_natural.T @ (to_natural / self.sd_D[:, None] ** 2))

    def log_density_gradient(self, theta_RD: Floats) -> Floats:
        """Derivative of each rater's log-prior. Shape (R, D)."""
        to_natural = self.to_natural()
        residual = theta_RD @ to_natural.T - self.mean_D
        return np.asarray(-(residual / self.sd_D**2) @ to_natural)


def start(alpha: float, offsets: Floats, n_style: int) -> Population:
    """A population of equally reliable raters without bias."""
    mean = np.concatenate([[alpha, 0.0], np.zeros(n_style), offsets])
    nothing = np.zeros_like(mean)
    return Population(mean, nothing, np.full_like(mean, 0.5), nothing, nothing)


def posterior_covariance(complete_RDD: Floats, observed_RDD: Floats, precision_DD: Floats) -> Floats:
    """Inverse of observed information plus prior; what is missing counts for at most MOST_MISSING of the complete in any direction,
    so that the inverse exists for a rater of whom next to nothing is known. Shape (R, D, D).
    """
    lower = np.linalg.cholesky(complete_RDD + precision_DD)
    inverse = np.linalg.inv(lower)
    missing = inverse @ (complete_RDD - observed_RDD) @ inverse.transpose(0, 2, 1)
    values, vectors = np.linalg.eigh(missing)
    left = inverse.transpose(0, 2, 1) @ vectors
    return np.asarray((left / (1 - np.minimum(values, MOST_MISSING))[:, None, :]) @ left.transpose(0, 2, 1))


def update(before: Population, theta_RD: Floats, covariance_RDD: Floats, start_mean_D: Floats, n_style: int) -> Population:
    """Means, quality effects and spreads given what is known of each rater: one EM step under weak priors.

    Spreads are pulled to PRIOR_SD as by PRIOR_RATERS raters; a mean bias to 0 by MEAN_BIAS_SD and a quality effect by the wider
    QUALITY_EFFECT_SD. Where raters are equally reliable the data do not tell the two apart and these two decide: most goes to quality.
    """
    count, size = len(theta_RD), theta_RD.shape[1]
    mean, effect, sd = before.mean_D.copy(), np.zeros(size), before.sd_D.copy()
    mean_variance, effect_variance = np.zeros(size), np.zeros(size)
    alpha, alpha_variance = theta_RD[:, 0], covariance_RDD[:, 0, 0]
    for d in range(size):
        value, variance, shared = theta_RD[:, d], covariance_RDD[:, d, d], covariance_RDD[:, 0, d]
        if 2 <= d < 2 + n_style:
            moments = np.array([[count, alpha.sum()], [alpha.sum(), (alpha**2 + alpha_variance).sum()]])
            ridge = np.diag([(sd[d] / MEAN_BIAS_SD) ** 2, (sd[d] / QUALITY_EFFECT_SD) ** 2])
            inverse = np.linalg.inv(moments + ridge)
            mean[d], effect[d] = inverse @ np.array([value.sum(), (alpha * value + shared).sum()])
            mean_variance[d], effect_variance[d] = sd[d] ** 2 * np.diag(inverse)
        else:
            pull = (sd[d] / MEAN_SD) ** 2
            mean[d] = (value.sum() + pull * start_mean_D[d]) / (count + pull)
            mean_variance[d] = sd[d] ** 2 / (count + pull)
        residual = value - mean[d] - effect[d] * alpha
        spread = residual**2 + variance - 2 * effect[d] * shared + effect[d] ** 2 * alpha_variance
        sd[d] = np.sqrt((spread.sum() + PRIOR_RATERS * PRIOR_SD**2) / (count + PRIOR_RATERS))
    return Population(mean, effect, sd, mean_variance, effect_variance)
