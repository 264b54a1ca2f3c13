"""Kernels read and write bfloat16 as torch does, and share rows among threads without leaving any out."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from truing.models import kernels
from truing.models.gated import gated
from truing.models.kernels import array, compiled, in_rows


@compiled
def _add_one(x_N, start, stop):
    x_N = x_N[start:stop]
    for n in range(len(x_N)):
        x_N[n] = kernels._as(x_N, kernels._float(x_N[n]) + np.float32(1))


@given(st.lists(st.floats(width=32), min_size=1, max_size=50))
def test_bfloat16_is_rounded_as_torch_rounds_it(numbers):
    x = torch.tensor(numbers).bfloat16()
    expected = (x.float() + 1).bfloat16()
    _add_one(array(x), 0, len(x))
    torch.testing.assert_close(x, expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(("rows", "multiple"), [(1, 1), (999, 1), (1000, 7), (1001, 400), (1001, 2000)])
def test_every_row_is_run_once_however_many_threads(rows, multiple, monkeypatch):
    monkeypatch.setattr(kernels, "_LEAST", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    starts = []

    def kernel(x_N, start, stop):
        starts.append(start)
        x_N[start:stop] += 1

    x = np.zeros(rows)
    in_rows(kernel, x, rows=rows, width=3, multiple=multiple)
    assert (x == 1).all()
    assert all(start % multiple == 0 for start in starts)
    assert len(starts) == min(4, -(-rows // multiple))


def test_an_error_in_a_thread_is_raised(monkeypatch):
    monkeypatch.setattr(kernels, "_LEAST", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)

    def kernel(start, stop):
        if start:
            raise MemoryError(stop)

    with pytest.raises(MemoryError, match="8"):
        in_rows(kernel, rows=8, width=1)


def test_without_a_writable_place_kernels_are_compiled_each_time(monkeypatch):
    def njit(function, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return options["nogil"], function

    monkeypatch.setattr(kernels.numba, "njit", njit)
    assert compiled(len) == (True, len)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_exponentials_are_right_over_their_whole_range(dtype):
    x = torch.linspace(-120, 120, 100_001).to(dtype)
    out = gated(x, torch.ones_like(x))
    torch.testing.assert_close(
        out, torch.nn.functional.silu(x.double()).to(dtype), atol=1e-30, rtol=2e-6 if dtype == torch.float32 else 1e-2
    )
