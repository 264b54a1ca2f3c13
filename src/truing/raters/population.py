"""Raters as draws from a population: what shrinks a rater with few judgments toward the others, estimated from all of them.

A rater's parameters in the order of `evidence`: reliability alpha, pull to the left beta, total slopes on style, level offsets.
Each is Student's t around a mean with a scale of its own, heavy-tailed so that the few who answer unlike the others (always
left, at random, upside down) are neither pulled to them nor widen what is expected of them. A total slope's mean is  bias +
quality effect * alpha.  That line through the raters is what tells a taste for style that raters share with each other (their
slope at alpha = 0: a bias) from style that goes with quality (the slope grows with alpha, as everything does that is read off
quality). Gold tells more of it (`gold.py`).

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
TAIL = 4.0
"""Degrees of freedom of the t distributions."""


class EffectEvidence(NamedTuple):
    """What else is known of the quality effects: the slope and the curvature of its log-likelihood where they are now."""

    score_K: Floats
    information_KK: Floats


class Population(NamedTuple):
    """Means and scales.

    `effect_D` is the quality effect of a style (0 for what is no style), `effect_variance_D` its variance.
    """

    mean_D: Floats
    effect_D: Floats
    sd_D: Floats
    mean_variance_D: Floats
    effect_variance_D: Floats

    def effect_K(self, n_style: int) -> Floats:
        """What a unit of each style adds to quality."""
        return self.effect_D[2 : 2 + n_style]

    def expected(self) -> Floats:
        """A rater's parameters where nothing is known of them."""
        return np.asarray(self.mean_D + self.effect_D * self.mean_D[0])

    def to_natural(self) -> Floats:
        """Matrix from a rater's parameters to the same with biases in place of total slopes: bias = slope - effect * alpha."""
        matrix = np.eye(len(self.mean_D))
        matrix[:, 0] -= self.effect_D
        return matrix

    def residual(self, theta_RD: Floats) -> Floats:
        """What the means and quality effects leave. Shape (R, D)."""
        return np.asarray(theta_RD @ self.to_natural().T - self.mean_D)

    def pull(self, theta_RD: Floats, covariance_RDD: Floats) -> Floats:
        """How strongly each parameter of each rater is drawn to its mean: 1 / scale^2, less for an outlier.

        The expected precision of Student's t as a mixture of normals: (nu + 1) / (nu + E[residual^2] / scale^2) / scale^2.
        """
        squares = self.squared_residuals(theta_RD, covariance_RDD) / self.sd_D**2
        return np.asarray((TAIL + 1) / (TAIL + squares) / self.sd_D**2)

    def own_share(self, pull_RD: Floats) -> Floats:
        """nu / (nu + E[residual^2] / scale^2), from the pull that it gave: near 0 for an outlier. Shape (R, D)."""
        return np.asarray(TAIL / (TAIL + 1) * pull_RD * self.sd_D**2)

    def precision(self, pull_RD: Floats) -> Floats:
        """Of the prior, in raters' parameters. Shape (R, D, D)."""
        to_natural = self.to_natural()
        return np.asarray(to_natural.T @ (pull_RD[:, :, None] * to_natural))

    def missing(self, pull_RD: Floats) -> Floats:
        """What of `precision` is lost by not knowing how strongly this rater is drawn (Louis 1982): most for outliers.

        Precision less this is the curvature of Student's t. Shape (R, D, D).
        """
        return self.precision(2 * pull_RD * (1 - self.own_share(pull_RD)))

    def log_density_gradient(self, theta_RD: Floats, pull_RD: Floats) -> Floats:
        """Derivative of each rater's log-prior. Shape (R, D)."""
        return np.asarray(-(pull_RD * self.residual(theta_RD)) @ self.to_natural())

    def squared_residuals(self, theta_RD: Floats, covariance_RDD: Floats) -> Floats:
        """Expected squares of residuals. Shape (R, D)."""
        return np.asarray(self.residual(theta_RD) ** 2 + self._natural_variance(covariance_RDD))

    def uncertainty(self, theta_RD: Floats, pull_RD: Floats, covariance_RDD: Floats) -> Floats:
        """What not knowing means and scales themselves adds to raters' covariance, by the delta method (Morris 1983).

        The information on log scale is Student's 2 nu / (nu + 3) a rater known exactly, less the more a rater is shrunk, and
        PRIOR_RATERS normal ones' from its prior. Shape (R, D, D).
        """
        share = self.own_share(pull_RD)
        known = np.clip(1 - self._natural_variance(covariance_RDD) * pull_RD, 0, 1)
        log_scale_variance = 1 / (2 * (PRIOR_RATERS + TAIL / (TAIL + 3) * (known**2).sum(axis=0)))
        by_mean = pull_RD * (2 * share - 1) * np.sqrt(self.mean_variance_D)
        by_scale = 2 * pull_RD * share * self.residual(theta_RD) * np.sqrt(log_scale_variance)
        moved = covariance_RDD @ self.to_natural().T
        moves = np.concatenate([moved * by_mean[:, None, :], moved * by_scale[:, None, :]], axis=2)
        return np.asarray(moves @ moves.transpose(0, 2, 1))

    def _natural_variance(self, covariance_RDD: Floats) -> Floats:
        """Variances of alpha, beta, biases and offsets. Shape (R, D)."""
        to_natural = self.to_natural()
        return np.asarray(np.einsum("de,ref,df->rd", to_natural, covariance_RDD, to_natural))


def start(alpha: float, offsets: Floats, n_style: int) -> Population:
    """A population of equally reliable raters without bias."""
    mean = np.concatenate([[alpha, 0.0], np.zeros(n_style), offsets])
    nothing = np.zeros_like(mean)
    return Population(mean, nothing, np.full_like(mean, 0.5), nothing, nothing)


def update(
    before: Population,
    theta_RD: Floats,
    covariance_RDD: Floats,
    pull_RD: Floats,
    start_mean_D: Floats,
    known: EffectEvidence,
) -> Population:
    """Means, quality effects and scales given what is known of each rater and of the effects: one EM step under weak priors.

    Scales are pulled to PRIOR_SD as by PRIOR_RATERS raters; a mean bias to 0 by MEAN_BIAS_SD and a quality effect by the wider
    QUALITY_EFFECT_SD. Where raters are equally reliable and `known` says nothing the data do not tell the two apart, and these
    decide: most goes to quality.
    """
    n_style = len(known.score_K)
    style = slice(2, 2 + n_style)
    mean_variance = 1 / (pull_RD.sum(axis=0) + MEAN_SD**-2)
    mean = mean_variance * ((pull_RD * theta_RD).sum(axis=0) + MEAN_SD**-2 * start_mean_D)
    effect, effect_variance = np.zeros_like(mean), np.zeros_like(mean)
    mean[style], effect[style], mean_variance[style], effect_variance[style] = _bias_and_effect(
        theta_RD, covariance_RDD, pull_RD[:, style], before.effect_D[style], known
    )
    after = Population(mean, effect, before.sd_D, mean_variance, effect_variance)
    tail = pull_RD * before.sd_D**2
    spread = (tail * after.squared_residuals(theta_RD, covariance_RDD)).sum(axis=0)
    sd = np.sqrt((spread + PRIOR_RATERS * PRIOR_SD**2) / (len(theta_RD) + PRIOR_RATERS))
    return after._replace(sd_D=sd)


def _bias_and_effect(
    theta_RD: Floats, covariance_RDD: Floats, pull_RK: Floats, effect_K: Floats, known: EffectEvidence
) -> tuple[Floats, Floats, Floats, Floats]:
    """The line of raters' slopes over their reliability, for all styles at once: mean biases, quality effects, variances."""
    n_style = len(effect_K)
    alpha_R1, slopes_RK = theta_RD[:, :1], theta_RD[:, 2 : 2 + n_style]
    cross = np.diag((pull_RK * alpha_R1).sum(axis=0))
    by_bias = np.diag(pull_RK.sum(axis=0) + MEAN_BIAS_SD**-2)
    squares_R1 = alpha_R1**2 + covariance_RDD[:, :1, 0]
    by_effect = np.diag((pull_RK * squares_R1).sum(axis=0) + QUALITY_EFFECT_SD**-2) + known.information_KK
    shared_RK = alpha_R1 * slopes_RK + covariance_RDD[:, 0, 2 : 2 + n_style]
    told_of_effect = (pull_RK * shared_RK).sum(axis=0) + known.score_K + known.information_KK @ effect_K
    inverse = np.linalg.inv(np.block([[by_bias, cross], [cross, by_effect]]))
    found = inverse @ np.concatenate([(pull_RK * slopes_RK).sum(axis=0), told_of_effect])
    variance = np.diag(inverse)
    return found[:n_style], found[n_style:], variance[:n_style], variance[n_style:]
