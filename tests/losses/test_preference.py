import math

import pytest
import torch
from torch.testing import assert_close

from truing.losses.preference import PREFERENCE_LOSSES, PreferenceInputs, dpo, hinge, ipo, robust


def inputs(
    chosen: float = 0.0, rejected: float = 0.0, label: float = 1.0, chosen_tokens: float = 1.0, rejected_tokens: float = 1.0
) -> PreferenceInputs:
    """One pair whose log-ratios to the reference are `chosen` and `rejected`."""
    return PreferenceInputs(
        policy_chosen_B=torch.tensor([chosen - 3.0], requires_grad=True),
        policy_rejected_B=torch.tensor([rejected - 5.0], requires_grad=True),
        reference_chosen_B=torch.tensor([-3.0]),
        reference_rejected_B=torch.tensor([-5.0]),
        chosen_tokens_B=torch.tensor([chosen_tokens]),
        rejected_tokens_B=torch.tensor([rejected_tokens]),
        label_B=torch.tensor([label]),
        weight_B=torch.tensor([1.0]),
        total_weight=1.0,
    )


STEP_0 = [
    ("dpo", 0.0, 0.693147),
    ("dpo", 0.2, 0.693147),
    ("robust", 0.2, 0.693147),
    ("hinge", 0.0, 1.0),
    ("ipo", 0.0, 25.0),
]


@pytest.mark.parametrize(("name", "label_smoothing", "expected"), STEP_0)
def test_a_policy_that_is_the_reference(name: str, label_smoothing: float, expected: float) -> None:
    output = PREFERENCE_LOSSES[name](inputs(), 0.1, label_smoothing)
    assert output.loss.item() == pytest.approx(expected, abs=1e-5)
    assert output.metrics["margin"].item() == 0
    assert output.metrics["accuracy"].item() == 0


@pytest.mark.parametrize("label", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize(("name", "label_smoothing", "expected"), STEP_0)
def test_the_label_does_not_matter_while_margins_are_zero(
    name: str, label_smoothing: float, expected: float, label: float
) -> None:
    assert PREFERENCE_LOSSES[name](inputs(label=label), 0.1, label_smoothing).loss.item() == pytest.approx(expected, abs=1e-5)


def test_dpo_by_hand() -> None:
    # beta m = 0.1 (2 ln 3 + 8 ln 3) = ln 3, so sigma = 3/4
    pair = inputs(2 * math.log(3), -8 * math.log(3))
    assert dpo(pair, 0.1, 0.0).loss.item() == pytest.approx(-math.log(0.75), abs=1e-5)
    smoothed = -0.9 * math.log(0.75) - 0.1 * math.log(0.25)
    assert dpo(pair, 0.1, 0.1).loss.item() == pytest.approx(smoothed, abs=1e-5)
    soft = inputs(2 * math.log(3), -8 * math.log(3), label=0.9)
    assert dpo(soft, 0.1, 0.0).loss.item() == pytest.approx(smoothed, abs=1e-5)


def test_robust_by_hand_and_unbiased() -> None:
    pair = inputs(10 * math.log(3))
    expected = (-0.9 * math.log(0.75) + 0.1 * math.log(0.25)) / 0.8
    assert robust(pair, 0.1, 0.1).loss.item() == pytest.approx(expected, abs=1e-5)
    # the mean over labels flipped one time in ten is the loss without flips
    flipped = robust(inputs(10 * math.log(3), label=0.0), 0.1, 0.1).loss
    mean = 0.9 * robust(pair, 0.1, 0.1).loss + 0.1 * flipped
    assert mean.item() == pytest.approx(dpo(pair, 0.1, 0.0).loss.item(), abs=1e-5)


def test_hinge_by_hand() -> None:
    assert hinge(inputs(4.0), 0.1, 0.0).loss.item() == pytest.approx(0.6, abs=1e-6)
    assert hinge(inputs(40.0), 0.1, 0.0).loss.item() == 0
    assert hinge(inputs(4.0, label=0.75), 0.1, 0.0).loss.item() == pytest.approx(0.75 * 0.6 + 0.25 * 1.4, abs=1e-6)


def test_ipo_divides_by_length() -> None:
    # margin 6/3 - 4/2 = 0 a token, then 9/3 - 4/2 = 1 against the goal 1 / 0.2 = 5
    assert ipo(inputs(6.0, 4.0, chosen_tokens=3, rejected_tokens=2), 0.1, 0.0).loss.item() == pytest.approx(25, abs=1e-4)
    assert ipo(inputs(9.0, 4.0, chosen_tokens=3, rejected_tokens=2), 0.1, 0.0).loss.item() == pytest.approx(16, abs=1e-4)


@pytest.mark.parametrize("name", ["dpo", "robust", "hinge", "ipo"])
def test_label_smoothing_is_never_ignored(name: str) -> None:
    loss = PREFERENCE_LOSSES[name]
    assert loss(inputs(3.0), 0.1, 0.1).loss.item() != pytest.approx(loss(inputs(3.0), 0.1, 0.0).loss.item(), abs=1e-4)


@pytest.mark.parametrize("name", ["dpo", "hinge", "ipo"])
def test_a_tie_pulls_neither_way_at_the_reference(name: str) -> None:
    pair = inputs(label=0.5)
    PREFERENCE_LOSSES[name](pair, 0.1, 0.0).loss.backward()
    assert pair.policy_chosen_B.grad is not None
    assert_close(pair.policy_chosen_B.grad, torch.zeros(1))


def test_beta_towards_zero_leaves_ln_2() -> None:
    assert dpo(inputs(50.0, -50.0), 1e-9, 0.0).loss.item() == pytest.approx(math.log(2), abs=1e-6)
