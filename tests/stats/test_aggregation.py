import numpy as np
import pandas as pd
import pytest
from crowdkit.aggregation import MajorityVote

from truing.errors import TruingError
from truing.stats.aggregation import evidence, majority_vote, make_votes, pin_known


def test_majority_by_hand_with_a_tie_and_an_item_nobody_labelled() -> None:
    found = majority_vote([0, 0, 0, 1, 1, 3], [0, 1, 2, 0, 1, 2], [1, 1, 0, 0, 2, 2], n_labels=3)
    assert found.share_IL == pytest.approx(np.array([[1 / 3, 2 / 3, 0], [0.5, 0, 0.5], [1 / 3] * 3, [0, 0, 1]]))
    assert found.posterior_IL == pytest.approx(np.array([[0, 1, 0], [0.5, 0, 0.5], [1 / 3] * 3, [0, 0, 1]]))
    assert found.tied_I.tolist() == [False, True, True, False]
    assert found.votes_I.tolist() == [3, 2, 0, 1]


@pytest.mark.filterwarnings("ignore")  # crowd-kit uses what pandas deprecates
def test_shares_are_the_reference_librarys() -> None:
    rng = np.random.default_rng(0)
    item, rater, label = np.repeat(np.arange(50), 4), np.tile(np.arange(4), 50), rng.integers(0, 3, 200)
    reference = MajorityVote().fit_predict_proba(pd.DataFrame({"task": item, "worker": rater, "label": label}))
    assert majority_vote(item, rater, label, 3).share_IL == pytest.approx(reference[[0, 1, 2]].to_numpy(), abs=1e-12)


def test_weights_scale_votes() -> None:
    found = majority_vote([0, 0, 0], [0, 1, 2], [0, 1, 1], 2, weight_N=[1.0, 0.4, 0.4])
    assert found.posterior_IL.tolist() == [[1, 0]]
    assert found.votes_I == pytest.approx([1.8])


def test_votes_sum_a_raters_log_probabilities_and_expected_counts() -> None:
    votes = make_votes([0, 0, 1], [0, 1, 1], [0, 1, 1], 2)
    confusion = np.array([[[0.9, 0.1], [0.2, 0.8]], [[0.7, 0.3], [0.4, 0.6]]])
    by_hand = np.log([[0.9 * 0.3, 0.2 * 0.6], [0.3, 0.6]])
    assert votes.log_likelihood_IL(confusion) == pytest.approx(by_hand)
    counts = votes.counts_RLL(np.array([[0.75, 0.25], [0.5, 0.5]]))
    assert counts.tolist() == [[[0.75, 0], [0.25, 0]], [[0, 1.25], [0, 0.75]]]
    assert votes.pooled().counts_RLL(np.eye(2)).tolist() == [[[1, 1], [0, 1]]]


def test_known_labels_are_certain_and_count_with_their_own_likelihood() -> None:
    joint = np.log([[0.3, 0.1], [0.2, 0.2]])
    assert pin_known(np.full((2, 2), 0.5), [1, -1]).tolist() == [[0, 1], [0.5, 0.5]]
    assert evidence(joint, None) == pytest.approx(np.log(0.4 * 0.4))
    assert evidence(joint, [1, -1]) == pytest.approx(np.log(0.1 * 0.4))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([], [], [], None), "no label"),
        (([0, 1], [0, 0], [0], None), "differ in length"),
        (([0], [0], [2], None), "labels are 0 to 1"),
        (([0], [0], [-1], None), "drop missing"),
        (([0], [0], [1], [-1.0]), "drop missing"),
    ],
)
def test_input_that_means_nothing_is_refused(columns, message: str) -> None:
    item, rater, label, weight = columns
    with pytest.raises(TruingError, match=message):
        make_votes(item, rater, label, 2, weight)


@pytest.mark.parametrize("known", [[1], [0, 2]])
def test_known_labels_must_fit(known: list[int]) -> None:
    with pytest.raises(TruingError, match="known labels"):
        pin_known(np.full((2, 2), 0.5), known)
