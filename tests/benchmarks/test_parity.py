import pytest
import torch
from safetensors.torch import save_file

from benchmarks.paired.parity import compare, compare_files

GRADIENTS = {"a": torch.tensor([3.0, 0.0]), "b": torch.tensor([0.0, 4.0])}


def shifted(name, by):
    return {**GRADIENTS, name: GRADIENTS[name] + torch.tensor(by)}


def test_differences_are_relative_to_the_peer():
    parity = compare(1.0, 1.0, shifted("a", [0.0, 0.05]), GRADIENTS)
    assert parity.gradient_difference == pytest.approx(0.05 / 5)  # the peer's gradient has norm 5
    assert parity.worst_tensor == "a"
    assert parity.worst_difference == pytest.approx(0.05 / 3)  # and 3 as the largest entry of a


@pytest.mark.parametrize(
    ("loss", "shift", "holds"),
    [(1.0, 0.0, True), (1.0 + 5e-6, 0.0, True), (1.0 + 2e-5, 0.0, False), (1.0, 2e-4, True), (1.0, 5e-4, False)],
)
def test_parity_holds_within_tolerances(loss, shift, holds):
    assert compare(loss, 1.0, shifted("a", [0.0, shift]), GRADIENTS).holds is holds


def test_a_small_tensor_may_not_hide_behind_a_large_one():
    large = {"large": torch.tensor([1e6]), "small": torch.tensor([1e-3])}
    parity = compare(1.0, 1.0, {**large, "small": torch.tensor([2e-3])}, large)
    assert parity.gradient_difference < 1e-4
    assert not parity.holds


def test_a_gradient_that_one_side_lacks_is_named():
    with pytest.raises(ValueError, match="only one side has a gradient of b"):
        compare(1.0, 1.0, {"a": GRADIENTS["a"]}, GRADIENTS)


def test_files(tmp_path):
    for side in ("ours", "peer"):
        save_file(GRADIENTS, tmp_path / side)
    assert compare_files(1.0, 1.0, tmp_path / "ours", tmp_path / "peer").holds


def test_zero_gradients_agree():
    zero = {"a": torch.zeros(2), "b": torch.ones(1)}
    assert compare(1.0, 1.0, zero, zero).worst_difference == 0.0
