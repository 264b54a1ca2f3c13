"""The pairwise rater model: a latent quality difference for every comparison, a reliability and biases for every rater.

    eta = alpha_r * dq_i + beta_r * left + gamma_r . style_i        dq_i ~ N(quality effect . style_i, sd so that the residual's
    is 1)

eta is rater r's log-odds for the first answer of comparison i in stored order; left is +1 where the first was shown at left, -1
otherwise; style_i are differences first minus second (length, markdown, agreement with the user: `style.py`). Answers with ties
and margins follow from eta as `choice.py` says.

Fitted by EM on the marginal likelihood: qualities are integrated out by quadrature (`evidence.py`), raters are shrunk to a
population that is estimated with them (`population.py`). It is the two-parameter item response model turned round, with raters
for its items (Bock & Aitkin 1981). Each M-step is one Newton step on the complete-data objective, which is concave. Joint
maximisation over qualities too would be simpler and wrong: with three judgments a comparison its reliabilities do not converge
to the truth.

What is not identifiable, and what decides:

- Scale and sign of quality. Its residual's standard deviation is set to 1 and most raters are taken to mean well (mean alpha
  > 0): a crowd of which most answer the opposite is fitted upside down, unless gold says otherwise.
- Style shared by all: a quality effect w and a mean bias g give a rater the slope g + w * alpha. Gold tells them apart
  (`gold.py`). Without it they are told apart only as far as raters differ in reliability, on the assumption that taste for style
  and reliability are independent across raters. Where raters are equally reliable, priors put most on quality and the standard
  errors of every gamma say so. What one rater likes more than the others (gamma_r - mean) is identified whatever the split.
- Left against first: sides must be drawn, or stored order must be arbitrary. If `first` is always the same policy *and* always at
  left, its superiority and the raters' pull to the left are one number.
- A rater's drift: parameters are constant in time. `drift.py` finds changes, and weights leave out what came after.

Legend: N judgments, J comparisons, R raters, K style columns, C level offsets, D = 2 + K + C.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from truing.errors import TruingError
from truing.raters import population as prior_of_raters
from truing.raters.choice import probabilities
from truing.raters.evidence import Answers, Pass, Quality, expect, unpack
from truing.raters.gold import make_gold
from truing.raters.population import Population
from truing.stats import information
from truing.stats.intervals import normal_quantile

Floats = NDArray[np.float64]
START_ALPHA = 1.0
LARGEST_STEP = 1.0
_AT, _AT_WEIGHTS = np.polynomial.hermite_e.hermegauss(9)


class RaterModel(NamedTuple):
    """The fit. Rows of `rater_RD` are alpha, beta, gamma (one a style), level offsets; `rater_covariance_RDD` is their
    uncertainty.

    `dq_J` and `dq_sd_J` are the posterior of the quality difference, what style adds to quality included; `prior` is of quality
    beyond style.
    `judgments_R` counts each rater's judgments (by weight).
    """

    rater_RD: Floats
    rater_covariance_RDD: Floats
    dq_J: Floats
    dq_sd_J: Floats
    prior: Quality
    population: Population
    n_style: int
    judgments_R: Floats
    log_evidence: float
    iterations: int
    converged: bool

    @property
    def alpha_R(self) -> Floats:
        """Reliability: log-odds a unit of quality difference."""
        return self.rater_RD[:, 0]

    @property
    def beta_R(self) -> Floats:
        """Pull to the left, in log-odds."""
        return self.rater_RD[:, 1]

    @property
    def gamma_RK(self) -> Floats:
        """Taste for style beyond what style is worth, in log-odds a unit of style."""
        return self.rater_RD[:, 2 : 2 + self.n_style]

    @property
    def offsets_RC(self) -> Floats:
        """Habits in ties and degrees."""
        return self.rater_RD[:, 2 + self.n_style :]

    @property
    def error_RD(self) -> Floats:
        """Standard error of every entry of `rater_RD`."""
        return np.asarray(np.sqrt(np.einsum("rdd->rd", self.rater_covariance_RDD)))

    @property
    def interval_RD2(self) -> Floats:
        """95% interval of every entry of `rater_RD`.

        Reliability's is symmetric in asinh(alpha): its likelihood is lopsided where answers are nearly certain, as in log(alpha),
        and even around 0, where a coin-flipper's lies.
        """
        half_RD = normal_quantile() * self.error_RD
        ends_RD2 = np.stack([self.rater_RD - half_RD, self.rater_RD + half_RD], axis=2)
        half_R = half_RD[:, 0] / np.hypot(1, self.alpha_R)
        ends_RD2[:, 0] = np.sinh(np.arcsinh(self.alpha_R)[:, None] + half_R[:, None] * np.array([-1, 1]))
        return ends_RD2

    @property
    def quality_effect_K(self) -> Floats:
        """What a unit of style adds to quality."""
        return self.population.effect_K(self.n_style)

    def answer_probabilities(self, item_N: ArrayLike, rater_N: ArrayLike, left_N: ArrayLike, style_JK: ArrayLike) -> Floats:
        """P(y) of further judgments, levels -M to M, quality averaged over its posterior. Shape (N, 2 M + 1)."""
        by_node = self.answers_by_node(item_N, rater_N, left_N, style_JK)
        return np.asarray(np.einsum("q,qnl->nl", self.node_weights(), by_node))

    def answers_by_node(self, item_N: ArrayLike, rater_N: ArrayLike, left_N: ArrayLike, style_JK: ArrayLike) -> Floats:
        """P(y) at each quadrature node of the quality's posterior. Shape (Q, N, 2 M + 1)."""
        item = np.asarray(item_N)
        dq_QN = self.dq_J[item] + self.dq_sd_J[item] * _AT[:, None]
        return self.answers_given(dq_QN, item, rater_N, left_N, style_JK)

    def answers_given(
        self, dq_QN: Floats, item_N: ArrayLike, rater_N: ArrayLike, left_N: ArrayLike, style_JK: ArrayLike
    ) -> Floats:
        """P(y) of judgments at given quality differences. Shape (Q, N, 2 M + 1)."""
        item, rater, style = np.asarray(item_N), np.asarray(rater_N), np.asarray(style_JK, dtype=np.float64)
        bias = self.beta_R[rater] * np.asarray(left_N) + (self.gamma_RK[rater] * style[item]).sum(axis=1)
        return np.stack([probabilities(self.alpha_R[rater] * dq + bias, self.offsets_RC[rater]) for dq in dq_QN])

    @staticmethod
    def node_weights() -> Floats:
        """What each node of `answers_by_node` weighs. Shape (Q,)."""
        return np.asarray(_AT_WEIGHTS / _AT_WEIGHTS.sum())


def fit_rater_model(
    item_N: ArrayLike,
    rater_N: ArrayLike,
    answer_N: ArrayLike,
    left_N: ArrayLike,
    style_JK: ArrayLike,
    *,
    levels: int = 1,
    n_raters: int | None = None,
    weight_N: ArrayLike | None = None,
    gold_J: ArrayLike | None = None,
    tolerance: float = 2e-6,
    max_iterations: int = 500,
) -> RaterModel:
    """Fit from judgments in long format, items and raters numbered from 0.

    `answer_N` is -1, 0, 1 (second, tie, first; stored order), or -3..3 with `levels=3`; `left_N` is +1 where the first was
    shown at left, -1 where the second was, 0 unknown; `style_JK` first minus second; `weight_N` what a judgment counts;
    `gold_J` +1, 0 or -1 where the answer is known and NaN elsewhere. Converged where an iteration changes the log-evidence by
    less than `tolerance` nats a judgment. Raises TruingError where there is no judgment, an item has none, or columns do not fit.
    """
    answers = make_answers(item_N, rater_N, answer_N, left_N, style_JK, levels, n_raters, weight_N)
    return fit_answers(answers, gold_J, tolerance=tolerance, max_iterations=max_iterations)


def fit_answers(
    answers: Answers, gold_J: ArrayLike | None = None, *, tolerance: float = 2e-6, max_iterations: int = 500
) -> RaterModel:
    """Fit from checked columns (`make_answers`). Arguments as `fit_rater_model`."""
    style = answers.style_JK
    n_style, n_items = style.shape[1], len(style)
    gold = make_gold(gold_J, n_items)
    people = prior_of_raters.start(START_ALPHA, _offsets_at_start(answers), n_style)
    start_mean = people.mean_D
    counts = np.bincount(answers.rater_N, answers.weight_N, answers.n_raters).astype(np.float64)
    known_R = counts > 0
    theta = np.tile(people.expected(), (answers.n_raters, 1))
    pull = np.tile(people.sd_D**-2, (answers.n_raters, 1))
    quality = Quality(np.zeros(n_items), np.ones(n_items))
    last, converged, iteration = -np.inf, False, 0
    while not converged and iteration < max_iterations:
        iteration += 1
        prior = gold.prior(style, people.effect_K(n_style))
        found = expect(answers, theta, prior, quality)
        quality = found.quality
        theta = _newton_step(theta, found, people, pull)
        covariance = _covariance(found, people.precision(pull))
        pull = people.pull(theta, covariance)
        known = gold.effects(style, prior, quality)
        gold = gold.judged(style, people.effect_K(n_style), quality)
        people = prior_of_raters.update(people, theta[known_R], covariance[known_R], pull[known_R], start_mean, known)
        theta[~known_R] = people.expected()
        converged = abs(found.log_evidence - last) < tolerance * len(answers.item_N)
        last = found.log_evidence
    prior = gold.prior(style, people.effect_K(n_style))
    found = expect(answers, theta, prior, quality)
    return _result(answers, theta, people, prior, found, pull, counts, iteration, converged)


def make_answers(
    item_N: ArrayLike,
    rater_N: ArrayLike,
    answer_N: ArrayLike,
    left_N: ArrayLike,
    style_JK: ArrayLike,
    levels: int,
    n_raters: int | None,
    weight_N: ArrayLike | None,
) -> Answers:
    """Columns checked and sorted by item. Raises as `fit_rater_model`."""
    item, rater = np.asarray(item_N, dtype=np.int32), np.asarray(rater_N, dtype=np.int32)
    answer, left = np.asarray(answer_N, dtype=np.int8), np.asarray(left_N, dtype=np.int8)
    style = np.asarray(style_JK, dtype=np.float64)
    weight = np.ones(len(item)) if weight_N is None else np.asarray(weight_N, dtype=np.float64)
    if len(item) == 0:
        raise TruingError("no judgments: there is nothing to fit raters to")
    if not len(item) == len(rater) == len(answer) == len(left) == len(weight):
        raise TruingError("judgments' columns (item, rater, answer, left, weight) differ in length")
    if min(item.min(), rater.min(), weight.min()) < 0 or np.abs(answer).max() > levels or np.abs(left).max() > 1:
        raise TruingError(f"items, raters and weights are from 0, answers -{levels} to {levels}, left is -1, 0 or +1")
    if style.ndim != 2 or np.bincount(item, minlength=len(style)).min() == 0 or len(style) <= item.max():
        raise TruingError("style has one row for each comparison, and each comparison at least one judgment")
    if (item[1:] < item[:-1]).any():
        order = np.argsort(item, kind="stable")
        item, rater, answer, left, weight = item[order], rater[order], answer[order], left[order], weight[order]
    return Answers(item, rater, answer, left, weight, style, n_raters or int(rater.max()) + 1, levels)


def _offsets_at_start(answers: Answers) -> Floats:
    """Log-odds of each level's size against 1, as if all preferences were even: exp(c_k) = n_k / (n_1 / 2) for ties, n_k / n_1
    else.
    """
    counts = np.bincount(np.abs(answers.answer_N), answers.weight_N, answers.levels + 1) + 0.5
    return np.asarray(np.log(np.concatenate([[2 * counts[0]], counts[2:]]) / counts[1]))


def _newton_step(theta_RD: Floats, found: Pass, people: Population, pull_RD: Floats) -> Floats:
    """One Newton step of every rater on complete information plus prior, no coordinate by more than LARGEST_STEP."""
    hessian = unpack(found.complete_RP, theta_RD.shape[1]) + people.precision(pull_RD)
    gradient = found.gradient_RD + people.log_density_gradient(theta_RD, pull_RD)
    step = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
    return np.asarray(theta_RD + np.clip(step, -LARGEST_STEP, LARGEST_STEP))


def _covariance(found: Pass, precision_RDD: Floats, missing_RDD: Floats | float = 0.0) -> Floats:
    """Of raters' parameters under their prior of that precision, less what is missing of it."""
    size = precision_RDD.shape[1]
    complete = unpack(found.complete_RP, size)
    return information.covariance(complete + precision_RDD, complete - unpack(found.observed_RP, size) + missing_RDD)


def _result(
    answers: Answers,
    theta_RD: Floats,
    people: Population,
    prior: Quality,
    found: Pass,
    pull_RD: Floats,
    judgments_R: Floats,
    iterations: int,
    converged: bool,
) -> RaterModel:
    """From total slopes to biases, and from what style does not explain to quality.

    Errors count what the population's estimates leave open: its means and scales, and the split of style into taste and quality.
    """
    covariance = _covariance(found, people.precision(pull_RD), people.missing(pull_RD))
    covariance += people.uncertainty(theta_RD, pull_RD, covariance)
    to_natural = people.to_natural()
    covariance = to_natural @ covariance @ to_natural.T
    split = people.effect_variance_D * theta_RD[:, :1] ** 2
    covariance[:, np.arange(len(split[0])), np.arange(len(split[0]))] += split
    dq = found.quality.mean_J + answers.style_JK @ people.effect_K(answers.style_JK.shape[1])
    return RaterModel(
        rater_RD=theta_RD @ to_natural.T,
        rater_covariance_RDD=covariance,
        dq_J=dq,
        dq_sd_J=found.quality.sd_J,
        prior=prior,
        population=people,
        n_style=answers.style_JK.shape[1],
        judgments_R=judgments_R,
        log_evidence=found.log_evidence,
        iterations=iterations,
        converged=converged,
    )
