"""Several labels of an item become one distribution over labels: majority vote, and what the models of raters share.

Labels come in long format: row n says that rater `rater_N[n]` gave label `label_N[n]` to item `item_N[n]`, all numbered from 0.

Legend: N labels given, I items, R raters, L label values.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse, special

from truing.errors import TruingError

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
UNKNOWN = -1


class MajorityVote(NamedTuple):
    """`share_IL`: each label's share of an item's votes. `posterior_IL`: 1 for the label with most votes, shared where tied."""

    share_IL: Floats
    posterior_IL: Floats
    votes_I: Floats

    @property
    def tied_I(self) -> NDArray[np.bool_]:
        """True where no single label has most votes (items without a vote are tied between all)."""
        return np.asarray((self.posterior_IL > 0).sum(axis=1) > 1)


class Votes(NamedTuple):
    """Labels as a sparse matrix: row = item, column = rater * L + label, entry = weight. Two products with it make an EM step."""

    matrix: sparse.csr_array
    n_raters: int
    n_labels: int

    def per_item(self) -> Floats:
        """Weight of each label given to an item, whoever gave it. Shape (I, L)."""
        to_label = sparse.vstack([sparse.eye_array(self.n_labels, format="csr")] * self.n_raters, format="csr")
        return np.asarray((self.matrix @ to_label).toarray())

    def pooled(self) -> Votes:
        """The same labels as if one rater had given them all."""
        return Votes(sparse.csr_array(self.per_item()), 1, self.n_labels)

    def log_likelihood_IL(self, confusion_RLL: Floats) -> Floats:
        """Log-probability of an item's labels under each true label; `confusion_RLL` is [rater, true, given]."""
        by_column = np.log(confusion_RLL).transpose(0, 2, 1).reshape(-1, self.n_labels)
        return np.asarray(self.matrix @ by_column)

    def counts_RLL(self, posterior_IL: Floats) -> Floats:
        """Expected number of times that each rater gave a label to items of each true label: [rater, true, given]."""
        by_column = np.asarray(self.matrix.T @ posterior_IL)
        return by_column.reshape(self.n_raters, self.n_labels, self.n_labels).transpose(0, 2, 1)


def make_votes(
    item_N: ArrayLike, rater_N: ArrayLike, label_N: ArrayLike, n_labels: int, weight_N: ArrayLike | None = None
) -> Votes:
    """Labels in long format as `Votes`. `weight_N` scales a label's log-likelihood: 0.5 counts as half a label.

    Raises TruingError where there is nothing, lengths differ, a number is negative or a label is not below `n_labels`.
    """
    item, rater, label = (np.asarray(column, dtype=np.intp) for column in (item_N, rater_N, label_N))
    weight = np.ones(len(item)) if weight_N is None else np.asarray(weight_N, dtype=np.float64)
    if len(item) == 0:
        raise TruingError("nothing to aggregate: no label was given")
    if not len(item) == len(rater) == len(label) == len(weight):
        raise TruingError(
            f"items, raters, labels and weights differ in length: {len(item)}, {len(rater)}, {len(label)}, {len(weight)}"
        )
    if min(item.min(), rater.min(), label.min()) < 0 or label.max() >= n_labels or weight.min() < 0:
        raise TruingError(
            f"items, raters and weights are numbered from 0 and labels are 0 to {n_labels - 1}; drop missing labels"
        )
    n_items, n_raters = int(item.max()) + 1, int(rater.max()) + 1
    matrix = sparse.csr_array((weight, (item, rater * n_labels + label)), shape=(n_items, n_raters * n_labels))
    return Votes(matrix, n_raters, n_labels)


def majority_vote(
    item_N: ArrayLike, rater_N: ArrayLike, label_N: ArrayLike, n_labels: int, weight_N: ArrayLike | None = None
) -> MajorityVote:
    """Most frequent label of each item. Ties stay ties: the tied labels have equal probability. Raises as `make_votes`."""
    votes_IL = make_votes(item_N, rater_N, label_N, n_labels, weight_N).per_item()
    most = votes_IL == votes_IL.max(axis=1, keepdims=True)
    return MajorityVote(vote_shares(votes_IL), most / most.sum(axis=1, keepdims=True), votes_IL.sum(axis=1))


def vote_shares(votes_IL: Floats) -> Floats:
    """Votes over their sum; uniform for an item without votes."""
    total = votes_IL.sum(axis=1, keepdims=True)
    return np.where(total > 0, votes_IL / np.where(total > 0, total, 1), 1 / votes_IL.shape[1])


def pin_known(posterior_IL: Floats, known_I: ArrayLike | None) -> Floats:
    """`posterior_IL` with certainty where the true label is known (`known_I` >= 0; -1 is unknown)."""
    if known_I is None:
        return posterior_IL
    known = np.asarray(known_I, dtype=np.intp)
    n_items, n_labels = posterior_IL.shape
    if len(known) != n_items or known.max() >= n_labels:
        raise TruingError(f"known labels: one for each of {n_items} items, 0 to {n_labels - 1} or {UNKNOWN} where unknown")
    pinned = posterior_IL.copy()
    rows = np.flatnonzero(known >= 0)
    pinned[rows] = 0
    pinned[rows, known[rows]] = 1
    return pinned


def evidence(joint_IL: Floats, known_I: ArrayLike | None) -> float:
    """Log-probability of all labels: the true label summed out, or taken where it is known."""
    total = special.logsumexp(joint_IL, axis=1)
    if known_I is not None:
        known = np.asarray(known_I, dtype=np.intp)
        rows = np.flatnonzero(known >= 0)
        total[rows] = joint_IL[rows, known[rows]]
    return float(total.sum())
