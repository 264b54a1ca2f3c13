"""Raters as draws from a population: what shrinks a rater with few judgments toward the others, estimated from all of them.

A rater's parameters in the order of `evidence`: reliability alpha, pull to the left beta, total slopes on style, level offsets.
Each is Student's t around a mean with a scale of its own, heavy-tailed so that the few who answer unlike the others (always
left, at random, upside down) are neither pulled to them nor widen what is expected of them; a total slope's mean is  bias +
quality effect * alpha.  That line through the raters is what tells a taste for style that raters share with each other (their
slope at alpha = 0: a bias) from style that goes with quality (the slope grows with alpha, as everything does that is read off
quality).

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
TAIL = 4.0
"""Degrees of freedom of the t distributions."""


class Population(NamedTuple):
    """Means and spreads. `effect_D` is the quality effect of a style (0 for what is no style), `effect_variance_D` its
    variance.
    """

    mean_D: Floats
    effect_D: Floats
    sd_D: Floats
    mean_variance_D: Floats
    effect_variance_D: Floats

    def expected(self) -> Floats:
        """A rater's parameters where nothing is known of them."""
        return np.asarray(self.mean_D + self.effect_D * self.mean_D[0])

    def to_natural(self) -> Floats:
        """Matrix from a rater's parameters to the same with biases in place of total slopes: bias = slope - effect * alpha."""
        matrix = np.eye(len(self.mean_D))
        matrix[:, 0] -= self.effect_D
        return matrix

    def pull(self, theta_RD: Floats, covariance_RDD: Floats) -> Floats:
        """How strongly each parameter of each rater is drawn to its mean: 1 / scale^2, less for an outlier.

        The expected precision of Student's t as a mixture of normals: (nu + 1) / (nu + E[residual^2] / scale^2) / scale^2.
        """
        squares = self.squared_residuals(theta_RD, covariance_RDD) / self.sd_D**2
        return np.asarray((TAIL + 1) / (TAIL + squares) / self.sd_D**2)

    def precision(self, pull_RD: Floats) -> Floats:
        """Of the prior, in raters' parameters. Shape (R, D, D)."""
        to_natural = self.to_natural()
        return np.asarray(to_natural.T @ (pull_RD[:, :, None] * to_natural))

    def log_density_gradient(self, theta_RD: Floats, pull_RD: Floats) -> Floats:
        """Derivative of each rater's log-prior. Shape (R, D)."""
        to_natural = self.to_natural()
        return np.asarray(-(pull_RD * (theta_RD @ to_natural.T - self.mean_D)) @ to_natural)

    def squared_residuals(self, theta_RD: Floats, covariance_RDD: Floats) -> Floats:
        """Expected squares of what the means and quality effects leave. Shape (R, D)."""
        to_natural = self.to_natural()
        residual = theta_RD @ to_natural.T - self.mean_D
        return np.asarray(residual**2 + np.einsum("de,ref,df->rd", to_natural, covariance_RDD, to_natural))


def start(alpha: float, offsets: Floats, n_style: int) -> Population:
    """A population of equally reliable raters without bias."""
    mean = np.concatenate([[alpha, 0.0], np.zeros(n_style), offsets])
    nothing = np.zeros_like(mean)
    return Population(mean, nothing, np.full_like(mean, 0.5), nothing, nothing)


def posterior_covariance(complete_RDD: Floats, observed_RDD: Floats, precision_RDD: Floats) -> Floats:
    """Inverse of observed information plus prior; what is missing counts for at most MOST_MISSING of the complete in any
    direction, so that the inverse exists for a rater of whom next to nothing is known. Shape (R, D, D).
    """
    lower = np.linalg.cholesky(complete_RDD + precision_RDD)
    inverse = np.linalg.inv(lower)
    missing = inverse @ (complete_RDD - observed_RDD) @ inverse.transpose(0, 2, 1)
    values, vectors = np.linalg.eigh(missing)
    left = inverse.transpose(0, 2, 1) @ vectors
    return np.asarray((left / (1 - np.minimum(values, MOST_MISSING))[:, None, :]) @ left.transpose(0, 2, 1))


def update(
    before: Population, theta_RD: Floats, covariance_RDD: Floats, pull_RD: Floats, start_mean_D: Floats, n_style: int
) -> Population:
    """Means, quality effects and scales given what is known of each rater: one EM step under weak priors.

    Scales are pulled to PRIOR_SD as by PRIOR_RATERS raters; a mean bias to 0 by MEAN_BIAS_SD and a quality effect by the wider
    QUALITY_EFFECT_SD. Where raters are equally reliable the data do not tell the two apart, and these decide: most goes to
    quality.
    """
    size = theta_RD.shape[1]
    mean, effect = before.mean_D.copy(), np.zeros(size)
    mean_variance, effect_variance = np.zeros(size), np.zeros(size)
    alpha = theta_RD[:, 0]
    for d in range(size):
        pull = pull_RD[:, d]
        if 2 <= d < 2 + n_style:
            cross = (pull * alpha).sum()
            moments = np.array([[pull.sum(), cross], [cross, (pull * (alpha**2 + covariance_RDD[:, 0, 0])).sum()]])
            inverse = np.linalg.inv(moments + np.diag([MEAN_BIAS_SD**-2, QUALITY_EFFECT_SD**-2]))
            shared = alpha * theta_RD[:, d] + covariance_RDD[:, 0, d]
            mean[d], effect[d] = inverse @ np.array([pull @ theta_RD[:, d], pull @ shared])
            mean_variance[d], effect_variance[d] = np.diag(inverse)
        else:
            mean_variance[d] = 1 / (pull.sum() + MEAN_SD**-2)
            mean[d] = mean_variance[d] * (pull @ theta_RD[:, d] + MEAN_SD**-2 * start_mean_D[d])
    after = Population(mean, effect, before.sd_D, mean_variance, effect_variance)
    tail = pull_RD * before.sd_D**2
    spread = (tail * after.squared_residuals(theta_RD, covariance_RDD)).sum(axis=0)
    sd = np.sqrt((spread + PRIOR_RATERS * PRIOR_SD**2) / (len(theta_RD) + PRIOR_RATERS))
    return after._replace(sd_D=sd)
