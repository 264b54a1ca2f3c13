import numpy as np
import pytest

from truing.stats.information import covariance


def test_it_is_the_inverse_of_what_was_observed() -> None:
    complete = np.array([[[4.0, 1.0], [1.0, 3.0]], [[2.0, 0.0], [0.0, 2.0]]])
    missing = np.array([[[1.0, 0.5], [0.5, 1.0]], [[0.0, 0.0], [0.0, 1.0]]])
    assert covariance(complete, missing) == pytest.approx(np.linalg.inv(complete - missing))
    assert covariance(complete, missing)[1] == pytest.approx(np.diag([0.5, 1.0]))


def test_where_all_is_missing_a_twentieth_counts_as_known() -> None:
    assert covariance(np.array([[[4.0]]]), np.array([[[4.0]]])) == pytest.approx(np.array([[[1 / (0.05 * 4)]]]))
