import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from truing.losses.masked import LossOutput
from truing.losses.reward import ComparedScores, bradley_terry


def tensor(*values: float) -> Tensor:
    return torch.tensor(values)


def of_pairs(
    chosen_B: Tensor,
    rejected_B: Tensor,
    label_B: Tensor,
    weight_B: Tensor,
    center_coefficient: float = 0.0,
    total_weight: float | None = None,
) -> LossOutput:
    """Pairs that stand alone."""
    row_B = torch.arange(len(label_B))
    both_A = torch.cat([chosen_B, rejected_B])
    inputs = ComparedScores(both_A, row_B, row_B + len(row_B), row_B, label_B, weight_B, total_weight)
    return bradley_terry(inputs, center_coefficient)


def of_ranking(score_A: Tensor, label_B: Tensor | None = None, center_coefficient: float = 0.0) -> LossOutput:
    """All pairs of one ranking, the best answer first."""
    chosen_at_B, rejected_at_B = torch.combinations(torch.arange(len(score_A))).unbind(1)
    ones_B = torch.ones(len(chosen_at_B))
    labels_B = ones_B if label_B is None else label_B
    inputs = ComparedScores(score_A, chosen_at_B, rejected_at_B, torch.zeros(len(ones_B), dtype=torch.long), labels_B, ones_B)
    return bradley_terry(inputs, center_coefficient)


@pytest.mark.parametrize("label", [0.0, 0.3, 0.5, 1.0])
def test_equal_scores_cost_ln_2_whatever_the_label(label: float) -> None:
    output = of_pairs(tensor(0.0), tensor(0.0), tensor(label), tensor(1.0))
    assert output.loss.item() == pytest.approx(0.693147, abs=1e-6)
    assert output.metrics["accuracy"].item() == 0


def test_a_margin_of_ln_3_is_won_with_probability_three_quarters() -> None:
    hard = of_pairs(tensor(math.log(3)), tensor(0.0), tensor(1.0), tensor(1.0))
    assert hard.loss.item() == pytest.approx(-math.log(0.75), abs=1e-6)
    soft = of_pairs(tensor(math.log(3)), tensor(0.0), tensor(0.75), tensor(1.0))
    assert soft.loss.item() == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25), abs=1e-6)


def test_a_soft_label_is_met_by_its_own_log_odds() -> None:
    chosen_B = torch.tensor([math.log(3)], requires_grad=True)
    of_pairs(chosen_B, tensor(0.0), tensor(0.75), tensor(1.0)).loss.backward()
    assert chosen_B.grad is not None
    assert_close(chosen_B.grad, tensor(0.0))


def test_weights_are_relative_and_a_zero_half_is_ignored() -> None:
    chosen_B, rejected_B, label_B = tensor(1.0, -2.0), tensor(0.0, 0.0), tensor(1.0, 1.0)
    alone = of_pairs(chosen_B[:1], rejected_B[:1], label_B[:1], tensor(1.0)).loss
    assert_close(of_pairs(chosen_B, rejected_B, label_B, tensor(3.0, 0.0)).loss, alone)


def test_centring_adds_the_squared_sum_of_the_scores() -> None:
    plain = of_pairs(tensor(1.5), tensor(0.5), tensor(1.0), tensor(1.0)).loss
    centred = of_pairs(tensor(1.5), tensor(0.5), tensor(1.0), tensor(1.0), center_coefficient=0.01).loss
    assert (centred - plain).item() == pytest.approx(0.04, abs=1e-6)


def test_a_label_below_one_half_counts_the_other_answer_as_right() -> None:
    output = of_pairs(tensor(0.0, 1.0), tensor(1.0, 0.0), tensor(0.2, 0.2), tensor(1.0, 1.0))
    assert output.metrics["accuracy"].item() == 0.5


def test_micro_batches_add_up_to_the_batch() -> None:
    torch.manual_seed(0)
    chosen_B, rejected_B, label_B, weight_B = torch.randn(7), torch.randn(7), torch.rand(7), torch.rand(7)
    total = float(weight_B.sum())
    whole = of_pairs(chosen_B, rejected_B, label_B, weight_B, 0.01)
    rows = (slice(0, 2), slice(2, 7))
    parts = [of_pairs(chosen_B[r], rejected_B[r], label_B[r], weight_B[r], 0.01, total) for r in rows]
    assert_close(parts[0].loss + parts[1].loss, whole.loss)
    for name, value in whole.metrics.items():
        assert_close(parts[0].metrics[name] + parts[1].metrics[name], value)


def test_a_ranking_of_three_by_hand() -> None:
    """Odds 2 and 3 between neighbours, so 6 between first and last: 1/3 (ln 3/2 + ln 7/6 + ln 4/3) = 1/3 ln 7/3."""
    score_A = tensor(math.log(6), math.log(3), 0.0)
    output = of_ranking(score_A)
    assert output.loss.item() == pytest.approx(math.log(7 / 3) / 3, abs=1e-6)
    assert output.metrics["accuracy"].item() == pytest.approx(1)
    assert output.metrics["margin"].item() == pytest.approx(2 * math.log(6) / 3, abs=1e-6)


def test_a_ranking_of_two_is_a_pair() -> None:
    score_A = tensor(1.3, -0.4)
    pair = of_pairs(score_A[:1], score_A[1:], tensor(1.0), tensor(1.0), 0.01)
    assert of_ranking(score_A, center_coefficient=0.01).loss.item() == pair.loss.item()


@pytest.mark.parametrize("n_answers", [2, 4, 9])
def test_answers_all_tied_cost_ln_2_and_are_drawn_together(n_answers: int) -> None:
    n_pairs = n_answers * (n_answers - 1) // 2
    score_A = torch.arange(float(n_answers), requires_grad=True)
    of_ranking(score_A, torch.full((n_pairs,), 0.5)).loss.backward()
    assert score_A.grad is not None
    assert_close(score_A.grad.sum(), tensor(0.0)[0])
    assert score_A.grad[0] < 0 < score_A.grad[-1]  # a step against it raises the lowest score and lowers the highest
    level = of_ranking(torch.full((n_answers,), 0.7), torch.full((n_pairs,), 0.5))
    assert level.loss.item() == pytest.approx(0.693147, abs=1e-6)


def test_a_ranking_weighs_as_one_pair_however_many_answers_it_has() -> None:
    """Four answers (six pairs) at ln 2 each beside one pair at -ln 0.75: the mean of both."""
    score_A = tensor(0.0, 0.0, 0.0, 0.0, math.log(3), 0.0)
    chosen_at_B, rejected_at_B = torch.combinations(torch.arange(4)).unbind(1)
    inputs = ComparedScores(
        score_A,
        torch.cat([chosen_at_B, torch.tensor([4])]),
        torch.cat([rejected_at_B, torch.tensor([5])]),
        torch.tensor([0] * 6 + [1]),
        torch.ones(7),
        torch.ones(7),
    )
    assert bradley_terry(inputs).loss.item() == pytest.approx((math.log(2) - math.log(0.75)) / 2, abs=1e-6)
