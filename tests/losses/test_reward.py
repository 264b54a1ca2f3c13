import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from truing.losses.reward import bradley_terry


def tensor(*values: float) -> Tensor:
    return torch.tensor(values)


@pytest.mark.parametrize("label", [0.0, 0.3, 0.5, 1.0])
def test_equal_scores_cost_ln_2_whatever_the_label(label: float) -> None:
    output = bradley_terry(tensor(0.0), tensor(0.0), tensor(label), tensor(1.0))
    assert output.loss.item() == pytest.approx(0.693147, abs=1e-6)
    assert output.metrics["accuracy"].item() == 0


def test_a_margin_of_ln_3_is_won_with_probability_three_quarters() -> None:
    hard = bradley_terry(tensor(math.log(3)), tensor(0.0), tensor(1.0), tensor(1.0))
    assert hard.loss.item() == pytest.approx(-math.log(0.75), abs=1e-6)
    soft = bradley_terry(tensor(math.log(3)), tensor(0.0), tensor(0.75), tensor(1.0))
    assert soft.loss.item() == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25), abs=1e-6)


def test_a_soft_label_is_met_by_its_own_log_odds() -> None:
    chosen_B = torch.tensor([math.log(3)], requires_grad=True)
    bradley_terry(chosen_B, tensor(0.0), tensor(0.75), tensor(1.0)).loss.backward()
    assert chosen_B.grad is not None
    assert_close(chosen_B.grad, tensor(0.0))


def test_weights_are_relative_and_a_zero_half_is_ignored() -> None:
    chosen_B, rejected_B, label_B = tensor(1.0, -2.0), tensor(0.0, 0.0), tensor(1.0, 1.0)
    alone = bradley_terry(chosen_B[:1], rejected_B[:1], label_B[:1], tensor(1.0)).loss
    assert_close(bradley_terry(chosen_B, rejected_B, label_B, tensor(3.0, 0.0)).loss, alone)


def test_centring_adds_the_squared_sum_of_the_scores() -> None:
    plain = bradley_terry(tensor(1.5), tensor(0.5), tensor(1.0), tensor(1.0)).loss
    centred = bradley_terry(tensor(1.5), tensor(0.5), tensor(1.0), tensor(1.0), center_coefficient=0.01).loss
    assert (centred - plain).item() == pytest.approx(0.04, abs=1e-6)


def test_a_label_below_one_half_counts_the_other_answer_as_right() -> None:
    output = bradley_terry(tensor(0.0, 1.0), tensor(1.0, 0.0), tensor(0.2, 0.2), tensor(1.0, 1.0))
    assert output.metrics["accuracy"].item() == 0.5


def test_micro_batches_add_up_to_the_batch() -> None:
    torch.manual_seed(0)
    chosen_B, rejected_B, label_B, weight_B = torch.randn(7), torch.randn(7), torch.rand(7), torch.rand(7)
    total = float(weight_B.sum())
    whole = bradley_terry(chosen_B, rejected_B, label_B, weight_B, 0.01)
    rows = (slice(0, 2), slice(2, 7))
    parts = [bradley_terry(chosen_B[r], rejected_B[r], label_B[r], weight_B[r], 0.01, total) for r in rows]
    assert_close(parts[0].loss + parts[1].loss, whole.loss)
    for name, value in whole.metrics.items():
        assert_close(parts[0].metrics[name] + parts[1].metrics[name], value)
