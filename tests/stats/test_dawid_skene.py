import numpy as np
import pandas as pd
import pytest
from crowdkit.aggregation import DawidSkene as Reference

from benchmarks.worlds.workforce import Labels, simulate
from truing.errors import TruingError
from truing.stats.aggregation import majority_vote
from truing.stats.dawid_skene import dawid_skene

reference_warns = pytest.mark.filterwarnings("ignore")  # crowd-kit uses what pandas deprecates
MIXED = np.r_[np.full(3, 0.5), np.linspace(0.62, 0.95, 9)]


def table(labels: Labels) -> pd.DataFrame:
    return pd.DataFrame({"task": labels.item_N, "worker": labels.rater_N, "label": labels.label_N})


@reference_warns
@pytest.mark.parametrize("n_labels", [2, 4])
@pytest.mark.parametrize("iterations", [1, 10, 60])
def test_without_shrinkage_it_is_the_reference_librarys(n_labels: int, iterations: int) -> None:
    labels = simulate(0, items=120, per_item=4, accuracy_R=MIXED, n_labels=n_labels)
    reference = Reference(n_iter=iterations, tol=-1).fit(table(labels))
    mine = dawid_skene(*labels[:3], n_labels, shrinkage=0, tolerance=-np.inf, max_iterations=iterations)
    assert mine.posterior_IL == pytest.approx(reference.probas_.sort_index()[range(n_labels)].to_numpy(), abs=1e-6)


@reference_warns
def test_with_known_labels_it_is_the_reference_librarys() -> None:
    labels = simulate(1, items=120, per_item=3, accuracy_R=MIXED)
    known = np.where(np.arange(120) < 20, labels.truth_I, -1)
    reference = Reference(n_iter=20, tol=-1).fit(table(labels), true_labels=pd.Series(labels.truth_I[:20]))
    mine = dawid_skene(*labels[:3], 2, known_I=known, shrinkage=0, tolerance=-np.inf, max_iterations=20)
    assert mine.posterior_IL == pytest.approx(reference.probas_.sort_index()[[0, 1]].to_numpy(), abs=1e-6)


def test_one_step_by_hand() -> None:
    # two raters agree on items 0 and 1 and differ on item 2; from shares of votes (1, 0), (0, 1), (1/2, 1/2):
    # prior (1/2, 1/2); rater 0 said 0, 1, 0: P(0 | true 0) = 1.5/1.5, P(0 | true 1) = 0.5/1.5; rater 1 said 0, 1, 1
    fit = dawid_skene([0, 0, 1, 1, 2, 2], [0, 1] * 3, [0, 0, 1, 1, 0, 1], 2, shrinkage=0, max_iterations=1)
    assert fit.prior_L == pytest.approx([0.5, 0.5])
    assert fit.confusion_RLL[0] == pytest.approx(np.array([[1, 0], [1 / 3, 2 / 3]]), abs=1e-9)
    assert fit.confusion_RLL[1] == pytest.approx(np.array([[2 / 3, 1 / 3], [0, 1]]), abs=1e-9)
    assert fit.posterior_IL == pytest.approx(np.array([[1, 0], [0, 1], [0.5, 0.5]]), abs=1e-6)  # item 2: 1/2 * 1 * 1/3 either way
    assert fit.counts_RLL[0].tolist() == [[1.5, 0], [0.5, 1]]
    assert fit.labels_R.tolist() == [3, 3]
    assert not fit.converged


@pytest.mark.parametrize("shrinkage", [0.0, 4.0])
@pytest.mark.parametrize("n_labels", [2, 3])
def test_the_objective_never_falls(shrinkage: float, n_labels: int) -> None:
    labels = simulate(2, items=300, per_item=3, accuracy_R=MIXED, n_labels=n_labels)
    weights = np.random.default_rng(0).uniform(0.2, 1, len(labels.item_N))
    known = np.where(np.arange(300) < 30, labels.truth_I, -1)
    fit = dawid_skene(*labels[:3], n_labels, weight_N=weights, known_I=known, shrinkage=shrinkage, tolerance=1e-9)
    assert fit.converged
    assert len(fit.objective) > 5
    assert np.diff(fit.objective).min() > -1e-9
    assert fit.posterior_IL.sum(axis=1) == pytest.approx(1)


def test_a_rater_with_few_labels_is_taken_to_be_like_the_others() -> None:
    labels = simulate(3, items=400, per_item=4, accuracy_R=np.full(8, 0.85))
    newcomer = (np.r_[labels.item_N, 0], np.r_[labels.rater_N, 8], np.r_[labels.label_N, 1 - labels.truth_I[0]])
    plain, shrunk = dawid_skene(*newcomer, 2, shrinkage=0), dawid_skene(*newcomer, 2)
    truth = labels.truth_I[0]
    assert plain.confusion_RLL[8, truth, truth] < 0.01  # one label, wrong: never right
    assert shrunk.confusion_RLL[8, truth, truth] == pytest.approx(4 * 0.85 / 5, abs=0.03)
    assert shrunk.balanced_accuracy_R[:8] == pytest.approx(plain.balanced_accuracy_R[:8], abs=0.02)


def test_accuracies_and_their_errors_are_the_truths() -> None:
    labels = simulate(4, items=3000, per_item=5, accuracy_R=MIXED)
    fit = dawid_skene(*labels[:3], 2)
    z = (fit.balanced_accuracy_R - MIXED) / fit.balanced_accuracy_error_R
    assert np.abs(z).max() < 3.5
    assert np.corrcoef(fit.accuracy_R, MIXED)[0, 1] > 0.99


def test_intervals_of_accuracy_cover() -> None:
    # 10 seeds of 25 raters, five of whom toss coins, with three labels an item: what is not known of the truth must widen them
    accuracy = np.r_[np.full(5, 0.5), np.linspace(0.62, 0.95, 20)]
    hits = []
    for seed in range(10):
        fit = dawid_skene(*simulate(seed, items=2000, per_item=3, accuracy_R=accuracy)[:3], 2)
        hits.append(np.abs(fit.balanced_accuracy_R - accuracy) < 1.96 * fit.balanced_accuracy_error_R)
    assert 0.91 < np.mean(hits) < 0.985


def test_where_the_truth_is_known_the_error_is_binomial() -> None:
    labels = simulate(8, items=400, per_item=4, accuracy_R=MIXED)
    fit = dawid_skene(*labels[:3], 2, known_I=labels.truth_I, shrinkage=0)
    right, n = np.einsum("rkk->rk", fit.confusion_RLL), fit.counts_RLL.sum(axis=2)
    assert fit.balanced_accuracy_error_R == pytest.approx(np.sqrt((right * (1 - right) / (n + 1)).sum(axis=1)) / 2)


def test_a_habit_is_no_accuracy() -> None:
    rng = np.random.default_rng(5)
    labels = simulate(5, items=600, per_item=4, accuracy_R=np.full(6, 0.85))
    lazy = np.flatnonzero(rng.random(600) < 0.5)
    fit = dawid_skene(
        np.r_[labels.item_N, lazy], np.r_[labels.rater_N, np.full(len(lazy), 6)], np.r_[labels.label_N, 0 * lazy], 2
    )
    assert fit.balanced_accuracy_R[6] == pytest.approx(0.5, abs=0.02)
    assert fit.confusion_RLL[6][:, 0].min() > 0.97


def test_more_truth_than_majority_with_spammers_around() -> None:
    gains = []
    for seed in range(5):
        labels = simulate(seed, items=1000, per_item=3, accuracy_R=np.r_[np.full(5, 0.5), np.linspace(0.62, 0.95, 20)])
        rows = np.arange(1000), labels.truth_I
        majority, fit = majority_vote(*labels[:3], 2).posterior_IL[rows], dawid_skene(*labels[:3], 2).posterior_IL
        gains.append((fit.argmax(axis=1) == labels.truth_I).mean() - majority.mean())
    assert np.mean(gains) > 0.02


def test_half_a_weight_is_half_a_likelihood() -> None:
    labels = simulate(6, items=100, per_item=3, accuracy_R=MIXED)
    twice = [np.repeat(column, 2) for column in labels[:3]]
    once, halves = dawid_skene(*labels[:3], 2), dawid_skene(*twice, 2, weight_N=np.full(600, 0.5))
    assert once.posterior_IL == pytest.approx(halves.posterior_IL, abs=1e-9)


def test_an_item_without_labels_gets_the_prior() -> None:
    labels = simulate(7, items=100, per_item=3, accuracy_R=MIXED)
    fit = dawid_skene(labels.item_N + 1, labels.rater_N, labels.label_N, 2)
    assert fit.posterior_IL[0] == pytest.approx(fit.prior_L, abs=1e-4)


def test_negative_shrinkage_is_refused() -> None:
    with pytest.raises(TruingError, match="shrinkage"):
        dawid_skene([0], [0], [0], 2, shrinkage=-1)
