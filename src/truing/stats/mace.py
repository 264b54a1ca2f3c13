"""MACE: every rater either knows an item's label or answers from a habit of their own (Hovy et al. 2013).

    P(rater r gives l | true = k) = competence_r [l = k] + (1 - competence_r) strategy_r[l]        true labels uniform

It has fewer numbers a rater than Dawid-Skene, one competence and one habit, so it finds raters who do not read (always left,
coins) from fewer labels; it cannot say which labels a rater mixes up. Fitted by variational Bayes as the paper advises, with
Beta(1/2, 1/2) on competence and Dirichlet(10) on strategies.

Legend: I items, R raters, L label values.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from truing.stats.aggregation import Floats, evidence, make_votes, pin_known, vote_shares

COMPETENCE_PRIOR = 0.5
STRATEGY_PRIOR = 10.0


class Mace(NamedTuple):
    """Posterior over true labels, and the raters behind it.

    `competence_beta_R2` holds each rater's Beta posterior on knowing (its second column counts labels known, its first labels
    guessed); `strategy_RL` where they guess, the mean of it. `objective` is the evidence's lower bound after each iteration,
    never falling.
    """

    posterior_IL: Floats
    competence_beta_R2: Floats
    strategy_RL: Floats
    objective: tuple[float, ...]
    converged: bool

    @property
    def competence_R(self) -> Floats:
        """Posterior mean of the share of items that a rater knows."""
        return np.asarray(self.competence_beta_R2[:, 1] / self.competence_beta_R2.sum(axis=1))

    @property
    def competence_interval_R2(self) -> Floats:
        """Central 95% interval of competence. It takes the true labels' uncertainty as given (mean field), so it is short."""
        guessed, known = self.competence_beta_R2.T
        return np.stack([special.betaincinv(known, guessed, tail) for tail in (0.025, 0.975)], axis=1)


def mace(
    item_N: ArrayLike,
    rater_N: ArrayLike,
    label_N: ArrayLike,
    n_labels: int,
    *,
    weight_N: ArrayLike | None = None,
    known_I: ArrayLike | None = None,
    tolerance: float = 1e-7,
    max_iterations: int = 1000,
) -> Mace:
    """Fit from labels in long format (numbered from 0), starting at the shares of votes and half knowledge.

    Arguments, convergence and errors are `dawid_skene`'s.
    """
    votes = make_votes(item_N, rater_N, label_N, n_labels, weight_N)
    gain = tolerance * float(votes.matrix.sum())
    posterior = pin_known(vote_shares(votes.per_item()), known_I)
    know_R1, guess_RL = np.full((votes.n_raters, 1), 0.5), np.full((votes.n_raters, n_labels), 0.5 / n_labels)
    objective: list[float] = []
    converged = False
    while not converged and len(objective) < max_iterations:
        counts = votes.counts_RLL(posterior)
        known_RL = np.einsum("rkk->rk", counts) * know_R1 / (know_R1 + guess_RL)
        guessed_RL = counts.sum(axis=1) - known_RL
        beta_R2 = np.stack([guessed_RL.sum(axis=1), known_RL.sum(axis=1)], axis=1) + COMPETENCE_PRIOR
        strategy_RL = guessed_RL + STRATEGY_PRIOR
        competence = _geometric_mean(beta_R2)
        know_R1, guess_RL = competence[:, 1:], competence[:, :1] * _geometric_mean(strategy_RL)
        joint = votes.log_likelihood_IL(know_R1[:, :, None] * np.eye(n_labels) + guess_RL[:, None, :]) - np.log(n_labels)
        posterior = pin_known(special.softmax(joint, axis=1), known_I)
        divergence = _divergence(beta_R2, COMPETENCE_PRIOR) + _divergence(strategy_RL, STRATEGY_PRIOR)
        objective.append(evidence(joint, known_I) - divergence)
        converged = len(objective) > 1 and objective[-1] - objective[-2] < gain
    return Mace(posterior, beta_R2, strategy_RL / strategy_RL.sum(axis=1, keepdims=True), tuple(objective), converged)


def _geometric_mean(dirichlet_RK: Floats) -> Floats:
    """exp(E log p) of each row's Dirichlet distribution."""
    return np.asarray(np.exp(special.digamma(dirichlet_RK) - special.digamma(dirichlet_RK.sum(axis=1, keepdims=True))))


def _divergence(dirichlet_RK: Floats, prior: float) -> float:
    """KL from each row's Dirichlet distribution to the symmetric one of `prior`, summed over rows."""
    rows, size = dirichlet_RK.shape
    log_norms = special.gammaln(dirichlet_RK.sum(axis=1)).sum() - special.gammaln(dirichlet_RK).sum()
    prior_log_norm = special.gammaln(size * prior) - size * special.gammaln(prior)
    moved = ((dirichlet_RK - prior) * np.log(_geometric_mean(dirichlet_RK))).sum()
    return float(log_norms - rows * prior_log_norm + moved)
