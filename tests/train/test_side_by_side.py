import os
import threading

import pytest
import torch

from truing.train.side_by_side import side_by_side

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread_an_operator():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_both_results_come_back_in_order() -> None:
    assert side_by_side(lambda: 1, lambda: "b", CPU) == (1, "b")


def test_an_error_of_either_is_raised() -> None:
    def fail() -> int:
        raise ValueError("broken")

    for tasks in ((fail, lambda: 1), (lambda: 1, fail)):
        with pytest.raises(ValueError, match="broken"):
            side_by_side(*tasks, CPU)


def test_with_threaded_operators_tasks_take_turns() -> None:
    torch.set_num_threads(2)
    names = side_by_side(lambda: threading.current_thread().name, lambda: threading.current_thread().name, CPU)
    assert names[0] == names[1]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes cannot be kept to a core here")
def test_on_one_core_tasks_take_turns() -> None:
    """Also where the machine has more of them than this process may use."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        names = side_by_side(lambda: threading.current_thread().name, lambda: threading.current_thread().name, CPU)
    finally:
        os.sched_setaffinity(0, allowed)
    assert names[0] == names[1]


def test_gradients_are_recorded_in_both_threads() -> None:
    weights = [torch.ones(2, requires_grad=True) for _ in range(2)]

    def backward(weight: torch.Tensor) -> torch.Tensor:
        (weight**2).sum().backward()
        assert weight.grad is not None
        return weight.grad

    first, second = side_by_side(lambda: backward(weights[0]), lambda: backward(weights[1]), CPU)
    assert torch.equal(first, second)
