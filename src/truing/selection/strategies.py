"""What a comparison is worth to raters' time, by each strategy: a score of at least 0, in whatever unit.

    uniform             all alike
    ensemble_variance   members of the reward ensemble disagree about the margin (Christiano et al. 2017, section 2.2.4)
    large_gap           the ensemble is sure: its judgment is checked where it acts on it
    fisher_information  a judgment there narrows the reward model's head most
    judge_disagreement  another judge and the reward model part
    findings_first      asked for by findings of the red team, the monitor or the reward-model tests

Legend: N comparisons, M ensemble members, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from scipy import special

from truing.selection.config import Strategy
from truing.selection.pool import Floats, Pool

RIDGE = 1e-3
"""Of the information matrix's mean eigenvalue: keeps directions that no comparison of the pool shows from being worth most."""


def uniform(pool: Pool) -> Floats:
    """1 each."""
    return np.ones(len(pool.comparisons))


def ensemble_variance(pool: Pool) -> Floats:
    """Unbiased variance over members of the margin, in log-odds squared. Needs at least two members."""
    return np.asarray(pool.require_margins(2).var(axis=0, ddof=1))


def large_gap(pool: Pool) -> Floats:
    """Absolute mean margin, in log-odds."""
    return np.asarray(np.abs(pool.require_margins().mean(axis=0)))


def fisher_information(pool: Pool) -> Floats:
    """Gain in log det of the head's information matrix from one judgment, at the design that takes the whole pool alike.

    For Bradley-Terry with margin x . w, a judgment of x has information p(1 - p) x x'. With A the pool's mean information, the
    derivative of log det A toward x is p(1 - p) x' A^-1 x (Fedorov 1972, section 2.2; D-optimality).
    """
    features_ND = pool.require_features()
    p_N = special.expit(pool.require_margins().mean(axis=0))
    root_ND = features_ND * np.sqrt(p_N * (1 - p_N))[:, None]
    information_DD = root_ND.T @ root_ND / len(root_ND)
    ridge = RIDGE * float(np.trace(information_DD)) / len(information_DD)
    if ridge == 0:
        return np.zeros(len(p_N))
    solved_DN = np.linalg.solve(information_DD + ridge * np.eye(len(information_DD)), root_ND.T)
    return np.asarray((root_ND * solved_DN.T).sum(axis=1))


def judge_disagreement(pool: Pool) -> Floats:
    """Distance between the judge's P(first preferred) and the ensemble's mean one."""
    p_N = special.expit(pool.require_margins()).mean(axis=0)
    return np.asarray(np.abs(pool.require_judge() - p_N))


def findings_first(pool: Pool) -> Floats:
    """1 where a finding asked for the comparison, else 0."""
    return np.array([float(c.source.startswith("finding")) for c in pool.comparisons])


STRATEGIES: Mapping[Strategy, Callable[[Pool], Floats]] = {
    "uniform": uniform,
    "ensemble_variance": ensemble_variance,
    "large_gap": large_gap,
    "fisher_information": fisher_information,
    "judge_disagreement": judge_disagreement,
    "findings_first": findings_first,
}
"""Every strategy, by the name a recipe gives it."""
