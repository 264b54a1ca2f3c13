import numpy as np
import pytest

from truing.raters.population import TAIL, Population

PEOPLE = Population(
    mean_D=np.array([1.1, 0.1, -0.2, 0.3]),
    effect_D=np.array([0.0, 0.0, 0.4, 0.0]),
    sd_D=np.array([0.3, 0.5, 0.2, 0.7]),
    mean_variance_D=np.array([0.01, 0.02, 0.03, 0.04]),
    effect_variance_D=np.zeros(4),
)
THETA = np.array([[2.0, 0.5, 1.5, -0.4], [-0.7, 0.1, -0.2, 0.3]])
CERTAIN = np.zeros((2, 4, 4))


def log_density(theta_RD: np.ndarray) -> np.ndarray:
    """Student's t of alpha, beta, slope - effect * alpha and offset, a rater."""
    alpha = theta_RD[:, 0]
    natural = np.column_stack([alpha, theta_RD[:, 1], theta_RD[:, 2] - 0.4 * alpha, theta_RD[:, 3]])
    return -(TAIL + 1) / 2 * np.log1p(((natural - PEOPLE.mean_D) / PEOPLE.sd_D) ** 2 / TAIL).sum(axis=1)


def test_gradient_is_that_of_students_t() -> None:
    gradient = PEOPLE.log_density_gradient(THETA, PEOPLE.pull(THETA, CERTAIN))
    for d in range(4):
        step = 1e-6 * np.eye(4)[d]
        assert (log_density(THETA + step) - log_density(THETA - step)) / 2e-6 == pytest.approx(gradient[:, d], abs=1e-6)


def test_precision_less_what_is_missing_is_the_curvature_of_students_t() -> None:
    # for an outlier it is negative
    pull = PEOPLE.pull(THETA, CERTAIN)
    curvature = PEOPLE.precision(pull) - PEOPLE.missing(pull)
    for d in range(4):
        step = 1e-4 * np.eye(4)[d]
        second = (log_density(THETA + step) - 2 * log_density(THETA) + log_density(THETA - step)) / 1e-8
        assert -second == pytest.approx(curvature[:, d, d], abs=1e-4)
    assert curvature[0, 2, 2] < 0 < curvature[1, 1, 1]


def test_a_rater_of_whom_nothing_is_known_is_as_uncertain_as_the_mean_on_top() -> None:
    nobody = PEOPLE.expected()[None]
    to_natural = PEOPLE.to_natural()
    covariance = np.linalg.inv(to_natural) @ np.diag(PEOPLE.sd_D**2) @ np.linalg.inv(to_natural).T
    pull, share = np.ones((1, 4)) / PEOPLE.sd_D**2, TAIL / (TAIL + 1)
    added = PEOPLE.uncertainty(nobody, pull, covariance[None])
    mine = (2 * share - 1) ** 2 * np.diag(PEOPLE.mean_variance_D)
    assert to_natural @ added[0] @ to_natural.T == pytest.approx(mine)


def test_expected_and_residual_agree() -> None:
    assert PEOPLE.residual(PEOPLE.expected()[None]) == pytest.approx(np.zeros((1, 4)))
