import pytest
import torch
from torch.testing import assert_close

from truing.losses.masked import masked_mean, whiten


def test_masked_mean_ignores_what_is_not_counted() -> None:
    values = torch.tensor([[1.0, 2.0], [4.0, 100.0]])
    is_counted = torch.tensor([[True, False], [True, False]])
    assert masked_mean(values, is_counted).item() == 2.5


def test_whitened_values_have_zero_mean_and_unit_variance() -> None:
    # mean 2, population variance (1 + 0 + 1) / 3 = 2/3, so 1 -> -1 / sqrt(2/3) = -1.2247449
    assert_close(whiten(torch.tensor([1.0, 2.0, 3.0])), torch.tensor([-1.2247449, 0.0, 1.2247449]))
    assert_close(whiten(torch.tensor([1.0, 2.0, 3.0]), shift_mean=False), torch.tensor([0.7752551, 2.0, 3.2247449]))


@pytest.mark.parametrize("values", [[5.0], [2.0, 2.0]])
def test_values_that_are_all_equal_whiten_to_zero(values: list[float]) -> None:
    assert_close(whiten(torch.tensor(values)), torch.zeros(len(values)))
