"""Dawid-Skene: every rater has a confusion matrix, every item a true label nobody sees; EM finds both (Dawid & Skene 1979).

    P(true_i = k) = prior_k        P(rater r gives l | true = k) = confusion_r[k, l]

Departure from the paper: each row of a rater's matrix is shrunk toward the pooled matrix, the one that all labels give when they
are taken as one rater's. It is the mode under a Dirichlet(1 + shrinkage * pooled) prior: a rater with few labels is taken to be
like the others, one with many is taken at their word. `shrinkage=0` is the paper's maximum likelihood.

Standard errors of raters count what is missing for want of the true labels (Louis 1982), but not how raters' errors go together.

A step is two products with a sparse matrix of labels: time and memory are linear in labels.

Legend: N labels given, I items, R raters, L label values.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from truing.errors import TruingError
from truing.stats import information
from truing.stats.aggregation import Floats, Votes, evidence, make_votes, pin_known, vote_shares

SHRINKAGE = 4.0
_LEAST = 1e-10


class DawidSkene(NamedTuple):
    """Posterior over true labels, and the raters behind it.

    `confusion_RLL` is [rater, true, given], rows sum to 1; `counts_RLL` the expected labels behind it (a rater's sum to their n).
    `balanced_accuracy_error_R` is the standard error of `balanced_accuracy_R`, what the true labels leave open included.
    `objective` is the log-posterior after each iteration (log-likelihood where shrinkage is 0), never falling.
    """

    posterior_IL: Floats
    prior_L: Floats
    confusion_RLL: Floats
    counts_RLL: Floats
    balanced_accuracy_error_R: Floats
    objective: tuple[float, ...]
    converged: bool

    @property
    def accuracy_R(self) -> Floats:
        """Probability that a rater gives the true label of an item drawn from the prior."""
        return np.asarray(np.einsum("rkk,k->r", self.confusion_RLL, self.prior_L))

    @property
    def balanced_accuracy_R(self) -> Floats:
        """Mean over true labels of P(given = true): 1/L for whoever answers without regard to the item, whatever their habit."""
        return np.asarray(np.einsum("rkk->r", self.confusion_RLL) / len(self.prior_L))

    @property
    def labels_R(self) -> Floats:
        """Number of labels (sum of weights) of each rater."""
        return np.asarray(self.counts_RLL.sum(axis=(1, 2)))


def dawid_skene(
    item_N: ArrayLike,
    rater_N: ArrayLike,
    label_N: ArrayLike,
    n_labels: int,
    *,
    weight_N: ArrayLike | None = None,
    known_I: ArrayLike | None = None,
    shrinkage: float = SHRINKAGE,
    tolerance: float = 1e-7,
    max_iterations: int = 500,
) -> DawidSkene:
    """Fit from labels in long format (numbered from 0), starting at the shares of votes.

    `weight_N` scales labels, `known_I` gives true labels that are known (gold; -1 elsewhere), `shrinkage` counts in labels for
    each true label. Converged where an iteration adds less than `tolerance` nats a label to the objective; `converged` is False
    where `max_iterations` came first. An item without labels gets the prior.
    Raises TruingError as `make_votes`, or where shrinkage is negative or known labels do not fit.
    """
    if shrinkage < 0:
        raise TruingError(f"shrinkage counts in labels and cannot be negative, but is {shrinkage}")
    votes = make_votes(item_N, rater_N, label_N, n_labels, weight_N)
    if shrinkage == 0:
        return _fit(votes, known_I, np.zeros((n_labels, n_labels)), tolerance, max_iterations)
    one_each = np.full((n_labels, n_labels), 1 / n_labels)
    pooled = _fit(votes.pooled(), known_I, one_each, tolerance, max_iterations).confusion_RLL[0]
    return _fit(votes, known_I, shrinkage * pooled, tolerance, max_iterations)


def _fit(votes: Votes, known_I: ArrayLike | None, pseudo_LL: Floats, tolerance: float, max_iterations: int) -> DawidSkene:
    posterior = pin_known(vote_shares(votes.per_item()), known_I)
    gain = tolerance * float(votes.matrix.sum())
    objective: list[float] = []
    converged = False
    while not converged and len(objective) < max_iterations:
        prior = np.maximum(posterior.mean(axis=0), _LEAST)
        counts = votes.counts_RLL(posterior)
        confusion = np.maximum(counts + pseudo_LL, _LEAST)
        confusion /= confusion.sum(axis=2, keepdims=True)
        joint = np.log(prior) + votes.log_likelihood_IL(confusion)
        posterior = pin_known(special.softmax(joint, axis=1), known_I)
        objective.append(evidence(joint, known_I) + float((pseudo_LL * np.log(confusion)).sum()))
        converged = len(objective) > 1 and objective[-1] - objective[-2] < gain
    error = _balanced_accuracy_error(votes, posterior, confusion, counts)
    return DawidSkene(posterior, prior, confusion, counts, error, tuple(objective), converged)


def _balanced_accuracy_error(votes: Votes, posterior_IL: Floats, confusion_RLL: Floats, counts_RLL: Floats) -> Floats:
    """From the information on P(given = true) of each true label k: binomial, with the expected counts (and one label more) as
    n, less what is missing because true labels are not known, the covariance of the scores under their posterior.
    """
    n_labels = votes.n_labels
    right_RK = np.clip(np.einsum("rkk->rk", confusion_RLL), _LEAST, 1 - _LEAST)
    score_RKL = np.where(np.eye(n_labels, dtype=bool), 1 / right_RK[:, :, None], -1 / (1 - right_RK[:, :, None]))
    complete_RK = (counts_RLL.sum(axis=2) + 1) / (right_RK * (1 - right_RK))
    spread_IKK = posterior_IL[:, :, None] * (np.eye(n_labels) - posterior_IL[:, None, :])
    by_label = votes.matrix.power(2).T @ spread_IKK.reshape(len(spread_IKK), -1)
    missing_RKK = np.einsum("rkl,rml,rlkm->rkm", score_RKL, score_RKL, by_label.reshape((votes.n_raters, *(n_labels,) * 3)))
    covariance_RKK = information.covariance(complete_RK[:, :, None] * np.eye(n_labels), missing_RKK)
    return np.asarray(np.sqrt(covariance_RKK.sum(axis=(1, 2))) / n_labels)
