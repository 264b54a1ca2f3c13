"""Passes over memory for a CPU, compiled by Numba: what a step does between its matrix products, in one pass each.

torch's own operations each read and write whole tensors; a rotary embedding is ten of them, an RMS norm a dozen. A core fetches
some 25 GB/s where it computes ten times that, so memory is what they wait for. Here one row stays in the cache for all that is
done with it. What is computed is float32; numbers in memory are float32 or bfloat16, rounded to nearest, ties to even.

Kernels take numpy arrays and the rows from `start` to `stop`, so that threads can share them (`in_rows`). bfloat16, which numpy
lacks, is given as its bits in int16 (`array`). They are compiled when first called, in a second, and kept on disk.

Shapes: N rows of D numbers, or of C columns; T tokens, H heads, E head width.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import numba
import numpy as np
import torch
from numba import types
from numba.extending import overload
from torch import Tensor

_DTYPES = (torch.float32, torch.bfloat16)
"""What kernels read and write."""
CHUNK = 1024
"""Rows that add up to a partial sum of their own: the same sums however many threads there are."""
_LEAST = 2**16
"""Numbers for each thread. Below, starting operations costs more than passes over memory do: torch's are as good (measured)."""
_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "nsz"},  # sums in any order, but infinities and NaN as they are
}

Function = TypeVar("Function", bound=Callable[..., Any])
Kernel = Callable[..., None]
_alone = threading.Lock()
"""Held while a kernel runs in several threads: where Numba has no OpenMP, two at once would end the process."""


def compiled(function: Function, *, parallel: bool = False) -> Function:
    """Compile for the types that it is first called with, and keep the result where Numba finds a writable place."""
    try:
        return numba.njit(function, cache=True, parallel=parallel, **_OPTIONS)  # type: ignore[no-any-return]  # Numba has no types
    except RuntimeError:  # neither this folder nor the user's cache can be written
        return numba.njit(function, parallel=parallel, **_OPTIONS)  # type: ignore[no-any-return]


def in_threads(function: Function) -> Function:
    """`compiled`, with each `prange` cut up among threads."""
    return compiled(function, parallel=True)


def suits(*tensors: Tensor) -> bool:
    """Whether a kernel is the faster way: many numbers of one type that it knows, on a CPU."""
    first = tensors[0]
    if first.numel() < _LEAST or first.dtype not in _DTYPES:
        return False
    return all(x.dtype == first.dtype and x.device.type == "cpu" for x in tensors)


def array(x: Tensor) -> np.ndarray:
    """The same memory for a kernel."""
    x = x.detach()
    return x.view(torch.int16).numpy() if x.dtype == torch.bfloat16 else x.numpy()


def in_rows(kernel: Kernel, in_parts: Kernel, *arguments: Any, rows: int, width: int, multiple: int = 1) -> None:
    """Run `kernel(*arguments, start, stop)` on all rows of `width` numbers, in as many threads as torch uses here.

    `in_parts` is the same in threads, given the edges of their parts in place of start and stop. All parts but the last are
    multiples of so many rows.
    """
    at_most: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]  # Numba sets it as it is imported
    threads = min(torch.get_num_threads(), at_most, rows * width // _LEAST)
    if threads <= 1:
        kernel(*arguments, 0, rows)
        return
    part = -(-rows // (threads * multiple)) * multiple
    with _alone:
        _start_threads()
        numba.set_num_threads(threads)
        in_parts(*arguments, np.append(np.arange(0, rows, part), rows))


@cache
def _start_threads() -> None:
    """Numba's. Where it finds the same OpenMP as torch, torch's number of threads would be set, too."""
    threads = torch.get_num_threads()
    numba.set_num_threads(1)
    torch.set_num_threads(threads)


def _float(stored: Any) -> Any:
    """What an array holds, in float32."""
    raise NotImplementedError  # pragma: no cover  (a name for Numba, which takes what is below, by type)


def _as(like: Any, number: Any) -> Any:
    """A float32 as the array `like` holds it."""
    raise NotImplementedError  # pragma: no cover  (as above)


@overload(_float)
def _float_by_type(stored: Any) -> Any:
    def as_it_is(stored: Any) -> Any:
        return stored

    def of_bfloat16(stored: Any) -> Any:
        return np.uint32(np.uint32(np.uint16(stored)) << np.uint32(16)).view(np.float32)

    return as_it_is if isinstance(stored, types.Float) else of_bfloat16


@overload(_as)
def _as_by_type(like: Any, number: Any) -> Any:  # noqa: ARG001  (Numba wants the same names, here and below)
    def as_it_is(like: Any, number: Any) -> Any:  # noqa: ARG001
        return number

    def to_bfloat16(like: Any, number: Any) -> Any:  # noqa: ARG001
        bits = np.float32(number).view(np.uint32)
        nearest = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
        return np.int16(np.uint16(nearest if number == number else np.uint32(0x7FC0)))  # noqa: PLR0124  (NaN is not itself)

    return as_it_is if isinstance(like.dtype, types.Float) else to_bfloat16


@compiled
def _exp(x: Any) -> Any:
    """e^x of a float32 to two units in the last place (Cephes' expf): the system's own is called number by number."""
    x = min(max(x, np.float32(-87.0)), np.float32(88.0))
    power = np.floor(x * np.float32(1.44269504) + np.float32(0.5))
    rest = x - power * np.float32(0.693359375) - power * np.float32(-2.12194440e-4)
    series = np.float32(1.9875691500e-4) * rest + np.float32(1.3981999507e-3)
    series = series * rest + np.float32(8.3334519073e-3)
    series = series * rest + np.float32(4.1665795894e-2)
    series = series * rest + np.float32(1.6666665459e-1)
    series = series * rest + np.float32(5.0000001201e-1)
    series = series * rest * rest + rest + np.float32(1.0)
    return series * np.uint32((np.int32(power) + np.int32(127)) << np.int32(23)).view(np.float32)


@compiled
def normalise(x_ND: Any, weight_D: Any, eps: Any, out_ND: Any, inverse_N: Any, start: int, stop: int) -> None:
    """x / sqrt(mean(x^2) + eps), rounded as `out_ND` holds it, times the weight. `inverse_N` gets what x is multiplied by."""
    x_ND, out_ND, inverse_N = x_ND[start:stop], out_ND[start:stop], inverse_N[start:stop]
    width = x_ND.shape[1]
    for n in range(len(x_ND)):
        squares = np.float32(0.0)
        for d in range(width):
            squares += _float(x_ND[n, d]) * _float(x_ND[n, d])
        inverse = np.float32(1.0) / np.sqrt(squares / np.float32(width) + eps)
        inverse_N[n] = inverse
        for d in range(width):
            normed = _float(_as(out_ND, _float(x_ND[n, d]) * inverse))
            out_ND[n, d] = _as(out_ND, normed * _float(weight_D[d]))


@in_threads
def normalise_in_parts(x_ND: Any, weight_D: Any, eps: Any, out_ND: Any, inverse_N: Any, edges: Any) -> None:
    """`normalise`, a thread for each part."""
    for part in numba.prange(len(edges) - 1):
        normalise(x_ND, weight_D, eps, out_ND, inverse_N, edges[part], edges[part + 1])


@compiled
def normalise_back(
    grad_ND: Any, x_ND: Any, weight_D: Any, inverse_N: Any, of_x_ND: Any, of_weight_CD: Any, start: int, stop: int
) -> None:
    """Gradients of `normalise`; that of the weight, in float32, is added to the row of its chunk of rows."""
    width = x_ND.shape[1]
    of_weight_CD = of_weight_CD[start // CHUNK :]
    grad_ND, x_ND, inverse_N, of_x_ND = grad_ND[start:stop], x_ND[start:stop], inverse_N[start:stop], of_x_ND[start:stop]
    for n in range(len(x_ND)):
        of_weight_D, inverse = of_weight_CD[n // CHUNK], inverse_N[n]
        along = np.float32(0.0)
        for d in range(width):
            along += _float(grad_ND[n, d]) * _float(weight_D[d]) * _float(x_ND[n, d])
        along *= inverse * inverse * inverse / np.float32(width)
        for d in range(width):
            grad, x = _float(grad_ND[n, d]) * inverse, _float(x_ND[n, d])
            of_x_ND[n, d] = _as(of_x_ND, grad * _float(weight_D[d]) - along * x)
            of_weight_D[d] += grad * x


@in_threads
def normalise_back_in_parts(
    grad_ND: Any, x_ND: Any, weight_D: Any, inverse_N: Any, of_x_ND: Any, of_weight_CD: Any, edges: Any
) -> None:
    """`normalise_back`, a thread for each part."""
    for part in numba.prange(len(edges) - 1):
        normalise_back(grad_ND, x_ND, weight_D, inverse_N, of_x_ND, of_weight_CD, edges[part], edges[part + 1])


@compiled
def rotate(x_THE: Any, cos_TE: Any, sin_TE: Any, is_back: bool, out_THE: Any, start: int, stop: int) -> None:
    """Each pair of x[e] and x[e + E/2] turned by its token's angle; `is_back`: the gradient of that, the other way."""
    x_THE, out_THE, cos_TE, sin_TE = x_THE[start:stop], out_THE[start:stop], cos_TE[start:stop], sin_TE[start:stop]
    _, heads, width = x_THE.shape
    half = width // 2
    for t in range(len(x_THE)):
        for h in range(heads):
            for e in range(half):
                first, second = _float(x_THE[t, h, e]), _float(x_THE[t, h, e + half])
                of_first, of_second = _float(sin_TE[t, e]), _float(sin_TE[t, e + half])
                if is_back:
                    of_first, of_second = -of_second, -of_first
                out_THE[t, h, e] = _as(out_THE, first * _float(cos_TE[t, e]) - second * of_first)
                out_THE[t, h, e + half] = _as(out_THE, second * _float(cos_TE[t, e + half]) + first * of_second)


@in_threads
def rotate_in_parts(x_THE: Any, cos_TE: Any, sin_TE: Any, is_back: Any, out_THE: Any, edges: Any) -> None:
    """`rotate`, a thread for each part."""
    for part in numba.prange(len(edges) - 1):
        rotate(x_THE, cos_TE, sin_TE, is_back, out_THE, edges[part], edges[part + 1])


@compiled
def gate(gate_N: Any, up_N: Any, out_N: Any, start: int, stop: int) -> None:
    """SiLU(gate) up, number by number."""
    gate_N, up_N, out_N = gate_N[start:stop], up_N[start:stop], out_N[start:stop]
    for n in range(len(gate_N)):
        x = _float(gate_N[n])
        out_N[n] = _as(out_N, x / (np.float32(1.0) + _exp(-x)) * _float(up_N[n]))


@in_threads
def gate_in_parts(gate_N: Any, up_N: Any, out_N: Any, edges: Any) -> None:
    """`gate`, a thread for each part."""
    for part in numba.prange(len(edges) - 1):
        gate(gate_N, up_N, out_N, edges[part], edges[part + 1])


@compiled
def gate_back(grad_N: Any, gate_N: Any, up_N: Any, of_gate_N: Any, of_up_N: Any, start: int, stop: int) -> None:
    """Gradients of `gate`."""
    grad_N, gate_N, up_N = grad_N[start:stop], gate_N[start:stop], up_N[start:stop]
    of_gate_N, of_up_N = of_gate_N[start:stop], of_up_N[start:stop]
    for n in range(len(gate_N)):
        x, grad = _float(gate_N[n]), _float(grad_N[n])
        sigmoid = np.float32(1.0) / (np.float32(1.0) + _exp(-x))
        of_up_N[n] = _as(of_up_N, grad * x * sigmoid)
        of_gate_N[n] = _as(of_gate_N, grad * _float(up_N[n]) * sigmoid * (np.float32(1.0) + x * (np.float32(1.0) - sigmoid)))


@in_threads
def gate_back_in_parts(grad_N: Any, gate_N: Any, up_N: Any, of_gate_N: Any, of_up_N: Any, edges: Any) -> None:
    """`gate_back`, a thread for each part."""
    for part in numba.prange(len(edges) - 1):
        gate_back(grad_N, gate_N, up_N, of_gate_N, of_up_N, edges[part], edges[part + 1])


@compiled
def attend(scores_NC: Any, scale: Any, context_N: Any, first_N: Any, last_N: Any, out_NC: Any, start: int, stop: int) -> None:
    """The softmax of scale times what each row sees: columns before `context`, and from `first` to `last`; 0 for the others."""
    scores_NC, out_NC = scores_NC[start:stop], out_NC[start:stop]
    context_N, first_N, last_N = context_N[start:stop], first_N[start:stop], last_N[start:stop]
    columns = scores_NC.shape[1]
    for n in range(len(scores_NC)):
        end, scores_C, out_C = last_N[n] + 1, scores_NC[n], out_NC[n]
        before = min(context_N[n], end)
        begin = max(first_N[n], before)
        largest = np.float32(-np.inf)
        for c in range(before):
            largest = max(largest, scores_C[c])
        seen_C = scores_C[begin:end]
        for c in range(len(seen_C)):
            largest = max(largest, seen_C[c])
        total = np.float32(0.0)
        for c in range(before):
            scores_C[c] = _exp((scores_C[c] - largest) * scale)
            total += scores_C[c]
        for c in range(len(seen_C)):
            seen_C[c] = _exp((seen_C[c] - largest) * scale)
            total += seen_C[c]
        inverse, own_C, after_C = np.float32(1.0) / total, out_C[begin:end], out_C[end:columns]
        for c in range(before):
            out_C[c] = _as(out_NC, scores_C[c] * inverse)
        for c in range(before, begin):
            out_C[c] = 0
        for c in range(len(own_C)):
            own_C[c] = _as(out_NC, seen_C[c] * inverse)
        for c in range(len(after_C)):
            after_C[c] = 0


@in_threads
def attend_in_parts(scores_NC: Any, scale: Any, context_N: Any, first_N: Any, last_N: Any, out_NC: Any, edges: Any) -> None:
    """`attend`, a thread for each part."""
    for part in numba.prange(len(edges) - 1):
        attend(scores_NC, scale, context_N, first_N, last_N, out_NC, edges[part], edges[part + 1])


@compiled
def attend_back(grad_NC: Any, probabilities_NC: Any, scale: Any, start: int, stop: int) -> None:
    """The gradient of `attend`'s scores, in place of that of its probabilities."""
    grad_NC, probabilities_NC = grad_NC[start:stop], probabilities_NC[start:stop]
    columns = grad_NC.shape[1]
    for n in range(len(grad_NC)):
        mean = np.float32(0.0)
        for c in range(columns):
            mean += _float(grad_NC[n, c]) * _float(probabilities_NC[n, c])
        for c in range(columns):
            grad_NC[n, c] = _as(grad_NC, _float(probabilities_NC[n, c]) * (_float(grad_NC[n, c]) - mean) * scale)


@in_threads
def attend_back_in_parts(grad_NC: Any, probabilities_NC: Any, scale: Any, edges: Any) -> None:
    """`attend_back`, a thread for each part."""
    for part in numba.prange(len(edges) - 1):
        attend_back(grad_NC, probabilities_NC, scale, edges[part], edges[part + 1])
