import numpy as np
import pandas as pd
import pytest
from crowdkit import aggregation as reference_library
from scipy import integrate, special
from scipy import stats as distributions

from benchmarks.worlds.workforce import simulate
from truing.stats.mace import _divergence, mace

MIXED = np.r_[np.full(3, 0.5), np.linspace(0.62, 0.95, 9)]


@pytest.mark.filterwarnings("ignore")  # crowd-kit uses what pandas deprecates
@pytest.mark.parametrize("n_labels", [2, 4])
def test_the_posterior_is_the_reference_librarys(n_labels: int) -> None:
    labels = simulate(0, items=120, per_item=4, accuracy_R=MIXED, n_labels=n_labels)
    # crowd-kit 1.4.2 mixes up raters or labels that first appear out of order: give them to it in order
    order = np.lexsort((labels.label_N, labels.rater_N))
    item, rater, label = labels.item_N[order], labels.rater_N[order], labels.label_N[order]
    table = pd.DataFrame({"task": item, "worker": rater, "label": label})
    reference = reference_library.MACE(n_iter=300, n_restarts=1).fit(table)
    mine = mace(item, rater, label, n_labels, tolerance=-np.inf, max_iterations=300)
    assert mine.posterior_IL == pytest.approx(reference.probas_.sort_index()[range(n_labels)].to_numpy(), abs=1e-6)


@pytest.mark.parametrize("n_labels", [2, 3])
def test_the_bound_never_falls(n_labels: int) -> None:
    labels = simulate(1, items=300, per_item=3, accuracy_R=MIXED, n_labels=n_labels)
    known = np.where(np.arange(300) < 30, labels.truth_I, -1)
    fit = mace(*labels[:3], n_labels, known_I=known, tolerance=1e-9)
    assert fit.converged
    assert np.diff(fit.objective).min() > -1e-9


def test_the_divergence_is_the_integral() -> None:
    # Beta(3, 2) to Beta(1/2, 1/2): integral of q log(q/p)
    q, p = distributions.beta(3, 2), distributions.beta(0.5, 0.5)
    integral, _ = integrate.quad(lambda x: q.pdf(x) * (q.logpdf(x) - p.logpdf(x)), 0, 1)
    assert _divergence(np.array([[3.0, 2.0]]), 0.5) == pytest.approx(integral, abs=1e-7)


def test_one_step_by_hand() -> None:
    # one rater, one item, label 0; start: knows with 1/2, guesses 0 with 1/2 * 1/2. Knowing has odds 2 to 1
    fit = mace([0], [0], [0], 2, max_iterations=1)
    assert fit.competence_beta_R2 == pytest.approx(np.array([[1 / 3 + 0.5, 2 / 3 + 0.5]]))
    assert fit.strategy_RL == pytest.approx(np.array([[10 + 1 / 3, 10]]) / (20 + 1 / 3))
    psi = special.digamma
    knows, guesses = np.exp(psi(7 / 6) - psi(2)), np.exp(psi(5 / 6) - psi(2))
    zero = np.exp(psi(10 + 1 / 3) - psi(20 + 1 / 3))
    assert fit.posterior_IL[0, 0] == pytest.approx((knows + guesses * zero) / (knows + 2 * guesses * zero))


def test_a_habit_is_found_from_few_labels() -> None:
    labels = simulate(2, items=600, per_item=4, accuracy_R=np.full(6, 0.9))
    lazy = np.arange(40)
    fit = mace(np.r_[labels.item_N, lazy], np.r_[labels.rater_N, np.full(40, 6)], np.r_[labels.label_N, 0 * lazy], 2)
    assert fit.competence_R[6] < 0.2
    assert fit.strategy_RL[6, 0] > 0.75
    assert fit.competence_interval_R2[6, 1] < fit.competence_interval_R2[:6, 0].min()
    assert fit.competence_R[:6] == pytest.approx(0.8, abs=0.1)  # right at 0.9 = knows 0.8 + half of the rest
