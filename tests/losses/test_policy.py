import math

import pytest
import torch
from torch.testing import assert_close

from truing.losses.policy import AdaptiveKL, clipped_policy, k1, k2, k3, kl_estimates, ppo_value


def test_unchanged_weights_have_ratio_one_and_nothing_clipped() -> None:
    logprobs_N = torch.tensor([-1.0, -0.2, -3.0], requires_grad=True)
    advantages_N = torch.tensor([1.0, -2.0, 4.0])
    output = clipped_policy(logprobs_N, logprobs_N.detach(), advantages_N, 0.2, 3)
    assert output.metrics["ratio"].item() == 1
    assert output.metrics["clip_fraction"].item() == 0
    assert output.metrics["approx_kl"].item() == 0
    assert output.loss.item() == -1
    output.loss.backward()
    assert logprobs_N.grad is not None
    assert_close(logprobs_N.grad, -advantages_N / 3)


def test_the_clip_takes_the_pessimistic_side() -> None:
    ratio_N = torch.tensor([1.5, 1.5, 0.5, 0.5])
    advantages_N = torch.tensor([1.0, -1.0, 1.0, -1.0])
    logratio_N = ratio_N.log().requires_grad_()
    output = clipped_policy(logratio_N, torch.zeros(4), advantages_N, 0.2, 4)
    # -min(1.5, 1.2), 1.5, -0.5, max(0.5, 0.8)
    assert output.loss.item() == pytest.approx((-1.2 + 1.5 - 0.5 + 0.8) / 4, abs=1e-6)
    assert output.metrics["clip_fraction"].item() == 0.5
    output.loss.backward()
    assert logratio_N.grad is not None
    assert_close(logratio_N.grad, torch.tensor([0.0, 1.5, -0.5, 0.0]) / 4)


def test_the_value_loss_is_half_the_larger_squared_error() -> None:
    # value 1, return 2, rollout value 0: clipped to 0.2 away the error is 1.8
    output = ppo_value(torch.tensor([1.0]), torch.tensor([0.0]), torch.tensor([2.0]), 0.2, 1)
    assert output.loss.item() == pytest.approx(0.5 * 1.8**2, abs=1e-6)
    assert output.metrics["value_clip_fraction"].item() == 1
    same = ppo_value(torch.tensor([1.0]), torch.tensor([1.0]), torch.tensor([2.0]), 0.2, 1)
    assert same.loss.item() == 0.5
    assert same.metrics["value_clip_fraction"].item() == 0


def test_kl_estimates_of_a_policy_that_is_the_reference_are_zero() -> None:
    logprobs_N = torch.tensor([-1.0, -2.0, -0.5])
    estimates = kl_estimates(logprobs_N, logprobs_N, torch.tensor([2, 1]))
    assert (estimates.k1, estimates.k2, estimates.k3) == (0, 0, 0)
    assert (estimates.k1_se, estimates.k2_se, estimates.k3_se) == (0, 0, 0)


def test_kl_estimators_by_hand() -> None:
    policy, reference = torch.tensor([math.log(0.5)]), torch.tensor([math.log(0.25)])
    assert k1(policy, reference).item() == pytest.approx(math.log(2), abs=1e-6)
    assert k2(policy, reference).item() == pytest.approx(math.log(2) ** 2 / 2, abs=1e-6)
    assert k3(policy, reference).item() == pytest.approx(0.5 - 1 + math.log(2), abs=1e-6)


def test_estimates_sum_over_tokens_and_carry_a_standard_error_over_episodes() -> None:
    estimates = kl_estimates(torch.tensor([1.0, 2.0, 5.0]), torch.zeros(3), torch.tensor([2, 1]))
    assert estimates.k1 == pytest.approx(4)
    assert estimates.k1_se == pytest.approx(1)  # sums 3 and 5: sd sqrt(2), over sqrt(2)


def test_k1_and_k3_agree_with_the_exact_divergence() -> None:
    generator = torch.Generator().manual_seed(0)
    policy, reference = torch.randn(5, generator=generator).log_softmax(0), torch.randn(5, generator=generator).log_softmax(0)
    exact = (policy.exp() * (policy - reference)).sum()
    for estimator in (k1, k3):
        assert_close((policy.exp() * estimator(policy, reference)).sum(), exact)


@pytest.mark.parametrize(("kl", "factor"), [(6.0, 1.0), (6.6, 1.001), (60.0, 1.002), (0.0, 0.998), (5.7, 0.9995)])
def test_adaptive_kl_moves_by_the_clipped_error(kl: float, factor: float) -> None:
    assert AdaptiveKL(6.0, 10_000).next_beta(0.05, kl, 100) == pytest.approx(0.05 * factor, rel=1e-9)
