"""Kernels read and write bfloat16 as torch does, and share rows among threads without leaving any out."""

import itertools
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from truing.models import kernels
from truing.models.gated import gated
from truing.models.kernels import array, compiled, in_rows


@compiled
def _add_one(x_N, start, stop):
    x_N = x_N[start:stop]
    for n in range(len(x_N)):
        x_N[n] = kernels._as(x_N, kernels._float(x_N[n]) + np.float32(1))


@settings(deadline=None)  # it is compiled first
@given(st.lists(st.floats(width=32), min_size=1, max_size=50))
def test_bfloat16_is_rounded_as_torch_rounds_it(numbers):
    x = torch.tensor(numbers).bfloat16()
    expected = (x.float() + 1).bfloat16()
    _add_one(array(x), 0, len(x))
    torch.testing.assert_close(x, expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(("rows", "multiple"), [(1, 1), (999, 1), (1000, 7), (1001, 400), (1001, 2000)])
def test_every_row_is_run_once_however_many_threads(rows, multiple, monkeypatch):
    monkeypatch.setattr(kernels, "_LEAST", 1)
    monkeypatch.setattr(kernels.numba.config, "NUMBA_NUM_THREADS", 4)
    monkeypatch.setattr(kernels.numba, "set_num_threads", lambda _: None)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    given = []

    def kernel(x_N, start, stop):
        x_N[start:stop] += 1

    def in_parts(x_N, edges):
        given.extend(edges[:-1])
        for start, stop in itertools.pairwise(edges):
            kernel(x_N, start, stop)

    x = np.zeros(rows)
    in_rows(kernel, in_parts, x, rows=rows, width=3, multiple=multiple)
    assert (x == 1).all()
    assert all(start % multiple == 0 for start in given)
    assert len(given) <= 4


def test_torchs_number_of_threads_stays():
    code = """
import torch
from truing.models.gated import gated
torch.set_num_threads(2)
x = torch.randn(700, 300)
out = gated(x, x)
assert torch.get_num_threads() == 2
assert torch.allclose(out, torch.nn.functional.silu(x) * x, atol=1e-6)
"""
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "NUMBA_NUM_THREADS": "3"})


def test_threads_may_call_at_once():
    x = torch.randn(1000, 300)
    expected = torch.nn.functional.silu(x) * x

    def work(_):
        torch.set_num_threads(2)
        return [torch.allclose(gated(x, x), expected, atol=1e-6) for _ in range(20)]

    with ThreadPoolExecutor(4) as pool:
        assert all(itertools.chain(*pool.map(work, range(4))))


def test_without_a_writable_place_kernels_are_compiled_each_time(monkeypatch):
    def njit(function, *, cache=False, **options):
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


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_hidden_by_a_softmax(bad):
    scores_NC = torch.randn(2, 40)
    scores_NC[0, 5] = bad
    first_N, last_N = np.zeros(2, dtype=int), np.full(2, 39)
    out_NC = torch.empty_like(scores_NC)
    kernels.attend(array(scores_NC.clone()), np.float32(0.3), first_N, first_N, last_N, array(out_NC), 0, 2)
    assert out_NC[0].isnan().all()
    torch.testing.assert_close(out_NC[1], torch.softmax(0.3 * scores_NC[1], -1))
