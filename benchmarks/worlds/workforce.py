"""A simulated workforce: raters of known accuracy who label items of known truth."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Labels(NamedTuple):
    """Labels in long format, the truth behind them and each rater's accuracy."""

    item_N: np.ndarray
    rater_N: np.ndarray
    label_N: np.ndarray
    truth_I: np.ndarray
    accuracy_R: np.ndarray


def simulate(seed: int, *, items: int, per_item: int, accuracy_R: list[float] | np.ndarray, n_labels: int = 2) -> Labels:
    """`per_item` raters, drawn without replacement, label each item: right with their accuracy, else any wrong label."""
    rng = np.random.default_rng(seed)
    accuracy = np.asarray(accuracy_R)
    truth = rng.integers(0, n_labels, items)
    rater = np.argsort(rng.random((items, len(accuracy))), axis=1)[:, :per_item].ravel()
    item = np.repeat(np.arange(items), per_item)
    wrong = (truth[item] + rng.integers(1, n_labels, len(item))) % n_labels
    label = np.where(rng.random(len(item)) < accuracy[rater], truth[item], wrong)
    return Labels(item, rater, label, truth, accuracy)
