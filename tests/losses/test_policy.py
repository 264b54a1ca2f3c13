import math

import pytest
import torch
from torch.testing import assert_close

from truing.losses.policy import (
    AdaptiveKL,
    KLLoss,
    clipped_policy,
    effective_sample_fraction,
    k1,
    k2,
    k3,
    kl_estimates,
    kl_loss,
    ppo_value,
    sequence_policy,
    token_weights,
    truncated_importance,
)


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


LENGTHS_B = torch.tensor([1, 3])


def test_what_a_token_weighs_by_name() -> None:
    assert_close(token_weights("dapo", LENGTHS_B, 4, 2, 10), torch.full((4,), 1 / 4))
    assert_close(token_weights("grpo", LENGTHS_B, 4, 2, 10), torch.tensor([1 / 2, 1 / 6, 1 / 6, 1 / 6]))
    assert_close(token_weights("dr_grpo", LENGTHS_B, 4, 2, 10), torch.full((4,), 1 / 20))


def test_weights_replace_the_mean_over_tokens() -> None:
    logprobs_N, advantages_N = torch.zeros(4), torch.tensor([4.0, 1.0, 1.0, 1.0])
    mean = clipped_policy(logprobs_N, logprobs_N, advantages_N, 0.2, 4)
    weight_N = token_weights("dapo", LENGTHS_B, 4, 2, 10)
    assert clipped_policy(logprobs_N, logprobs_N, advantages_N, 0.2, 4, weight_N).loss == mean.loss == -7 / 4
    weight_N = token_weights("grpo", LENGTHS_B, 4, 2, 10)
    by_episode = clipped_policy(logprobs_N, logprobs_N, advantages_N, 0.2, 4, weight_N)
    assert by_episode.loss.item() == pytest.approx(-(4 + 1) / 2)
    assert by_episode.metrics["ratio"] == 1  # metrics are of tokens, whatever these weigh in the loss


def test_a_completion_as_one_action_by_hand() -> None:
    behaviour_N = torch.tensor([-1.0, -1.0, -1.0, -1.0])
    # ratios 1.5 for the first completion, 1.1 * 1.0 * 0.5 = 0.55 for the second
    ratio_N = torch.tensor([1.5, 1.1, 1.0, 0.5])
    logprobs_N = (behaviour_N + ratio_N.log()).requires_grad_()
    output = sequence_policy(logprobs_N, behaviour_N, torch.tensor([1.0, -2.0]), LENGTHS_B, 0.2, 2)
    # -min(1.5, 1.2); max(2 * 0.55, 2 * 0.8)
    assert output.loss.item() == pytest.approx((-1.2 + 1.6) / 2, abs=1e-6)
    assert output.metrics["clip_fraction"] == 1
    assert output.metrics["ratio"].item() == pytest.approx((1.5 + 0.55) / 2)
    on_policy = sequence_policy(logprobs_N, logprobs_N.detach(), torch.tensor([1.0, -2.0]), LENGTHS_B, 0.2, 2)
    on_policy.loss.backward()
    assert logprobs_N.grad is not None
    assert_close(logprobs_N.grad, torch.tensor([-1.0, 2.0, 2.0, 2.0]) / 2)  # REINFORCE: -A at each token


def test_kl_losses_by_hand() -> None:
    policy_N, behaviour_N = torch.tensor([math.log(0.5)]), torch.tensor([math.log(0.25)])
    reference_N, weight_N = torch.tensor([math.log(0.25)]), torch.ones(1)
    k3_by_hand = 0.5 - 1 + math.log(2)
    expected: dict[KLLoss, float] = {"k2": math.log(2) ** 2 / 2, "k3": k3_by_hand, "k3_weighted": 2 * k3_by_hand}
    for kind, value in expected.items():
        output = kl_loss(kind, policy_N, behaviour_N, reference_N, 0.1, weight_N)
        assert output.loss.item() == pytest.approx(0.1 * value, abs=1e-6)
        assert output.metrics["kl_loss"].item() == output.loss.item()


@pytest.mark.parametrize(("kind", "is_right"), [("k2", True), ("k3_weighted", True), ("k3", False)])
def test_whose_gradient_is_that_of_the_divergence(kind: KLLoss, is_right: bool) -> None:
    """Over all tokens, each as often as the policy draws it: the expectation of the gradient."""
    generator = torch.Generator().manual_seed(0)
    logits_V = torch.randn(5, generator=generator).requires_grad_()
    reference_V = torch.randn(5, generator=generator).log_softmax(0)
    logprobs_V = logits_V.log_softmax(0)
    drawn_V = logprobs_V.detach()
    (exact_V,) = torch.autograd.grad((logprobs_V.exp() * (logprobs_V - reference_V)).sum(), logits_V, retain_graph=True)
    (found_V,) = torch.autograd.grad(kl_loss(kind, logprobs_V, drawn_V, reference_V, 1.0, drawn_V.exp()).loss, logits_V)
    assert torch.allclose(found_V, exact_V, atol=1e-6) == is_right


def test_importance_weights_are_cut_at_the_cap() -> None:
    trainer, sampler = torch.tensor([0.0, 0.0, 0.0]), torch.tensor([0.0, -math.log(1.5), -math.log(8)])
    assert_close(truncated_importance(trainer, sampler, 2.0), torch.tensor([1.0, 1.5, 2.0]))


def test_effective_sample_fraction_by_hand() -> None:
    agreed_N = torch.tensor([-1.0, -2.0])
    assert effective_sample_fraction(agreed_N, agreed_N) == pytest.approx(1)
    # weights 1 and 3: 16 / (2 * 10)
    assert effective_sample_fraction(torch.tensor([0.0, math.log(3)]), torch.zeros(2)) == pytest.approx(0.8)
