"""What judgments say of raters and items under given parameters: one pass over all judgments, in pieces that fit the cache.

The quality difference of an item is integrated out by adaptive Gauss-Hermite quadrature (Rabe-Hesketh et al. 2005): nodes lie
around the item's last posterior mean, spread by its last posterior standard deviation. All sums over judgments are by rater or
by item, so time is linear in judgments, and memory beyond the columns themselves does not grow with them.

Legend: N judgments, J items, R raters, Q nodes, K style columns, C level offsets, D = 2 + K + C parameters of a rater, P = D (D
+ 1) / 2 entries of a symmetric D x D matrix (upper triangle, row by row).
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, special

from truing.raters.choice import ChoiceTerms, choice_terms, offset_levels

Floats = NDArray[np.float64]
NODES = 7
PIECE = 16_384


class Answers(NamedTuple):
    """Judgments as columns, sorted by item, each item with at least one; and the style of each item.

    `answer_N` is the level y in stored order, `left_N` +1 where `first` was shown at left and -1 where `second` was, `weight_N`
    what a judgment counts. `style_JK` is first minus second.
    """

    item_N: NDArray[np.int32]
    rater_N: NDArray[np.int32]
    answer_N: NDArray[np.int8]
    left_N: NDArray[np.int8]
    weight_N: Floats
    style_JK: Floats
    n_raters: int
    levels: int

    @property
    def n_parameters(self) -> int:
        """D."""
        return 2 + int(self.style_JK.shape[1]) + self.levels


class Quality(NamedTuple):
    """Posterior mean and standard deviation of items' quality differences, beyond what style explains."""

    mean_J: Floats
    sd_J: Floats


class Pass(NamedTuple):
    """Sums of one pass. Information is packed (P); `observed` is `complete` less what not knowing the quality takes (Louis
    1982).
    """

    log_evidence: float
    quality: Quality
    gradient_RD: Floats
    complete_RP: Floats
    observed_RP: Floats


def expect(answers: Answers, theta_RD: Floats, prior: Quality, around: Quality, nodes: int = NODES) -> Pass:
    """One pass: posterior of every item with nodes laid `around` a guess of it, and each rater's score and information."""
    size = answers.n_parameters
    packed = size * (size + 1) // 2
    starts_J = np.searchsorted(answers.item_N, np.arange(len(prior.mean_J) + 1))
    totals_RS = np.zeros((answers.n_raters, size + 2 * packed))
    mean_J, sd_J, log_evidence = np.empty_like(prior.mean_J), np.empty_like(prior.mean_J), 0.0
    for first, last in _pieces(starts_J):
        piece = _Piece(answers, starts_J, first, last, prior, around, nodes)
        log_evidence += piece.integrate(theta_RD)
        mean_J[first:last], sd_J[first:last] = piece.moments()
        rows = np.arange(len(piece.rater) + 1)
        by_rater = sparse.csc_array((np.ones(len(piece.rater)), piece.rater, rows), shape=(answers.n_raters, len(piece.rater)))
        totals_RS += by_rater @ piece.score_and_information()
    gradient, complete, observed = np.split(totals_RS, [size, size + packed], axis=1)
    return Pass(log_evidence, Quality(mean_J, sd_J), gradient, complete, observed)


def unpack(packed_RP: Floats, size: int) -> Floats:
    """Symmetric matrices from their packed upper triangles. Shape (R, D, D)."""
    rows, columns = np.triu_indices(size)
    full = np.empty((len(packed_RP), size, size))
    full[:, rows, columns] = packed_RP
    full[:, columns, rows] = packed_RP
    return full


def linear_part(answers: Answers, theta_RD: Floats, rows: slice, item_N: NDArray[np.int32]) -> tuple[Floats, Floats]:
    """Columns that a rater's biases multiply (left, style) for some judgments, and the log-odds they give."""
    design = np.column_stack([answers.left_N[rows].astype(np.float64), answers.style_JK[item_N]])
    biases = theta_RD[answers.rater_N[rows], 1 : 1 + design.shape[1]]
    return design, np.einsum("nk,nk->n", design, biases)


def _pieces(starts_J: NDArray[np.intp]) -> list[tuple[int, int]]:
    """Runs of whole items that hold about PIECE judgments."""
    total = int(starts_J[-1])
    cuts = np.searchsorted(starts_J, np.arange(PIECE, total, PIECE))
    edges = np.unique(np.concatenate([[0], cuts, [len(starts_J) - 1]]))
    return [(int(a), int(b)) for a, b in itertools.pairwise(edges)]


class _Piece:
    """Some items with all their judgments."""

    def __init__(
        self, answers: Answers, starts_J: NDArray[np.intp], first: int, last: int, prior: Quality, around: Quality, nodes: int
    ) -> None:
        rows = slice(int(starts_J[first]), int(starts_J[last]))
        self.answers, self.rows = answers, rows
        self.rater, self.answer, self.weight = answers.rater_N[rows], answers.answer_N[rows], answers.weight_N[rows]
        self.item = answers.item_N[rows]
        self.local = self.item - first
        self.starts = starts_J[first:last] - rows.start
        at, weights = np.polynomial.hermite_e.hermegauss(nodes)
        mean, sd = around.mean_J[first:last, None], around.sd_J[first:last, None]
        self.x_JQ = mean + sd * at
        distance = (self.x_JQ - prior.mean_J[first:last, None]) / prior.sd_J[first:last, None]
        self.log_prior_JQ = (
            np.log(weights / np.sqrt(2 * np.pi)) + at**2 / 2 - distance**2 / 2 + np.log(sd) - np.log(prior.sd_J[first:last, None])
        )

    def integrate(self, theta_RD: Floats) -> float:
        """Weigh the nodes by the judgments; the log-probability of these."""
        theta = theta_RD[self.rater]
        self.x_NQ = self.x_JQ[self.local]
        self.design, bias = linear_part(self.answers, theta_RD, self.rows, self.item)
        eta = theta[:, :1] * self.x_NQ + bias[:, None]
        self.terms: ChoiceTerms = choice_terms(eta, theta[:, 1 + self.design.shape[1] :], self.answer)
        joint = self.log_prior_JQ + np.add.reduceat(self.weight[:, None] * self.terms.log_probability_NQ, self.starts, axis=0)
        total = special.logsumexp(joint, axis=1, keepdims=True)
        self.p_JQ = np.exp(joint - total)
        return float(total.sum())

    def moments(self) -> tuple[Floats, Floats]:
        """Posterior mean and standard deviation of the items."""
        mean = (self.p_JQ * self.x_JQ).sum(axis=1)
        variance = (self.p_JQ * (self.x_JQ - mean[:, None]) ** 2).sum(axis=1)
        return mean, np.sqrt(np.maximum(variance, 1e-12))

    def score_and_information(self) -> Floats:
        """Each judgment's share in its rater's gradient, complete information and observed information. Shape (N, D + 2 P)."""
        p, x, terms, weight = self.p_JQ[self.local], self.x_NQ, self.terms, self.weight
        levels = offset_levels(self.answers.levels)
        surprise, pulled = p * terms.surprise_NQ, p * terms.surprise_NQ * x
        g0, g1 = surprise.sum(axis=1), pulled.sum(axis=1)
        size = np.abs(self.answer)
        missed_CNQ = np.stack([(size == level)[:, None] - terms.level_probability_CNQ[c] for c, level in enumerate(levels)])
        missed_CN = np.einsum("nq,cnq->cn", p, missed_CNQ)
        gradient = np.column_stack([g1, g0[:, None] * self.design, missed_CN.T]) * weight[:, None]

        varied = p * terms.variance_NQ
        complete = _Second(
            (varied * x * x).sum(axis=1),
            (varied * x).sum(axis=1),
            varied.sum(axis=1),
            np.einsum("nq,cnq->cn", p * x, terms.covariance_CNQ),
            np.einsum("nq,cnq->cn", p, terms.covariance_CNQ),
            np.einsum("nq,cnq,dnq->cdn", p, -terms.level_probability_CNQ, terms.level_probability_CNQ),
        )
        for c in range(len(levels)):
            complete.cc[c, c] += (p * terms.level_probability_CNQ[c]).sum(axis=1)
        missing = _Second(
            (pulled * terms.surprise_NQ * x).sum(axis=1) - g1**2,
            (pulled * terms.surprise_NQ).sum(axis=1) - g1 * g0,
            (surprise * terms.surprise_NQ).sum(axis=1) - g0**2,
            np.einsum("nq,cnq->cn", pulled, missed_CNQ) - g1 * missed_CN,
            np.einsum("nq,cnq->cn", surprise, missed_CNQ) - g0 * missed_CN,
            np.einsum("nq,cnq,dnq->cdn", p, missed_CNQ, missed_CNQ) - missed_CN[:, None] * missed_CN[None],
        )
        whole = complete.packed(self.design) * weight[:, None]
        lost = missing.packed(self.design) * (weight**2)[:, None]
        return np.hstack([gradient, whole, whole - lost])


class _Second(NamedTuple):
    """Second-order sums over nodes from which a judgment's D x D matrix is built: x = quality, z = left and style, c =
    offsets.
    """

    xx: Floats
    x1: Floats
    one: Floats
    xc: Floats
    zc: Floats
    cc: Floats

    def packed(self, design: Floats) -> Floats:
        """The upper triangle, row by row, for the parameters (reliability, left and style, offsets). Shape (N, P)."""
        n_bias, n_offset = design.shape[1], len(self.xc)
        columns = [self.xx, *(self.x1 * design[:, k] for k in range(n_bias)), *self.xc]
        for k in range(n_bias):
            scaled = self.one * design[:, k]
            columns += [scaled * design[:, m] for m in range(k, n_bias)]
            columns += [self.zc[c] * design[:, k] for c in range(n_offset)]
        for c in range(n_offset):
            columns += [self.cc[c, d] for d in range(c, n_offset)]
        return np.stack(columns, axis=1)
