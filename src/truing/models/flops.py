"""The floor of a step: arithmetic that the mathematics needs and no more, and the rate at which the machine could do it.

    with FloorCounter() as floor:
        ...                    # forward and backward passes through `models/forward.py`
    floor.seconds()            # what they would take if every product ran at the peak rate

What counts: weight matrices times the tokens that are run (a shared beginning once, no padding; in the last layer, what serves
only a token's own state where that is read), attention over the pairs that see each other, the head at the places asked for; with
gradients, a product for each gradient that is needed. What does not: norms, activations and other elementwise work,
recomputation, the optimiser. So the fraction that a step reaches says how much of its time the unavoidable products account
for. Two approximations: a limited attention window is counted as if it saw everything,
and the first trainable layer above a frozen embedding as a chain of its weights.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextvars import ContextVar, Token
from functools import cache
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from truing.models.products import has_onednn, onednn_linear, widened_linear
from truing.models.unread import rowwise_modules

_ACTIVE: ContextVar[tuple[FloorCounter, ...]] = ContextVar("active", default=())


class Kind(NamedTuple):
    """Products of one kind share a peak rate."""

    device: torch.device
    dtype: torch.dtype


class FloorCounter:
    """Counts the work of what runs inside it: in its thread, and in threads started with its context. Counters may be nested."""

    def __init__(self) -> None:
        self.tokens = 0
        """Tokens that went through a model's trunk, padding and repetition left out."""
        self.flops: Counter[Kind] = Counter()
        self.overlap_s = 0.0
        """Seconds in which a second thread did work of its own (`train/side_by_side`)."""
        self._token: Token[tuple[FloorCounter, ...]] | None = None

    def __enter__(self) -> Self:
        self._token = _ACTIVE.set((*_ACTIVE.get(), self))
        return self

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            _ACTIVE.reset(self._token)

    def fraction(self, elapsed_s: float) -> float:
        """The share of `elapsed_s` (of both threads' time, where two worked) that the counted work takes at the peak rate."""
        return self.seconds() / (elapsed_s + self.overlap_s)

    def seconds(self) -> float:
        """The time that the counted work takes at the peak rate of its device, with as many threads as torch now uses."""
        return sum(flops / peak_rate(kind, torch.get_num_threads()) for kind, flops in self.flops.items())


class Work(NamedTuple):
    """Tokens that are run, and (query, key) pairs that see each other."""

    tokens: int
    pairs: int


def count_trunk(model: PreTrainedModel, whole: Work, last: Work | None = None) -> None:
    """Tell active counters of new tokens through the layers of `model`; `last`: what is left of that in the last layer."""
    if counters := _ACTIVE.get():
        flops = trunk_flops(model, whole, last or whole)
        for counter in counters:
            counter.tokens += whole.tokens
            counter.flops[Kind(model.device, model.dtype)] += flops


def count_head(head: nn.Module, hidden_ND: Tensor) -> None:
    """Tell active counters of a linear head on these hidden states."""
    if counters := _ACTIVE.get():
        flops = head_flops(head, hidden_ND)
        for counter in counters:
            counter.flops[Kind(hidden_ND.device, hidden_ND.dtype)] += flops


def count_overlap(seconds: float) -> None:
    """Tell active counters that two threads worked at once for so long."""
    for counter in _ACTIVE.get():
        counter.overlap_s += seconds


def trunk_flops(model: PreTrainedModel, whole: Work, last: Work) -> int:
    """Operations (a multiplication and an addition are two) of the layers without the head; those of the backward pass too
    where gradients are recorded: one more product for a trainable weight, one where something trainable stands before it.

    `last`: what the last layer has to do where only some states are read (`models/unread.py`).
    """
    records = torch.is_grad_enabled()
    embedding = model.get_input_embeddings()
    is_reached = records and any(weight.requires_grad for weight in embedding.parameters())
    narrow = {weight for module in rowwise_modules(model) for weight in module.parameters()}
    total = 0
    for weight, used in _matrices(model):
        gradients = is_reached + (records and weight.requires_grad)
        total += 2 * used * (last if weight in narrow else whole).tokens * (1 + gradients)
        is_reached = is_reached or (records and weight.requires_grad)
    config: Any = model.config.get_text_config()
    width: int = config.num_attention_heads * (
        getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    )
    pairs = whole.pairs * (config.num_hidden_layers - 1) + (last if narrow else whole).pairs
    # Two products forward (scores, and values weighted by them), and for each of them two backward.
    attention: int = 4 * width * pairs * (3 if is_reached else 1)
    return total + attention


def head_flops(head: nn.Module, hidden_ND: Tensor) -> int:
    """As `trunk_flops`, of a linear head."""
    gradients = 0
    weights = [weight for weight in head.parameters() if weight.ndim == 2]
    if torch.is_grad_enabled():
        gradients = int(hidden_ND.requires_grad) + any(weight.requires_grad for weight in weights)
    return 2 * len(hidden_ND) * sum(weight.numel() for weight in weights) * (1 + gradients)


def _matrices(model: PreTrainedModel) -> Iterator[tuple[nn.Parameter, int]]:
    """Each weight matrix that tokens are multiplied with, layer after layer, and how many of its entries one token uses."""
    config: Any = model.config.get_text_config()
    for module in model.base_model.modules():
        if isinstance(module, nn.Embedding):
            continue
        for weight in module.parameters(recurse=False):
            if weight.ndim == 2:
                yield weight, weight.numel()
            elif weight.ndim == 3:  # experts, of which a token visits a few
                yield weight, weight.numel() // weight.shape[0] * config.num_experts_per_tok


@cache
def peak_rate(kind: Kind, threads: int) -> float:
    """Operations a second of the best of a few large matrix products, measured once (a tenth of a second)."""
    del threads  # what torch is set to; part of the key
    size = 1024 if kind.device.type == "cpu" else 8192
    generator = torch.Generator(kind.device).manual_seed(0)
    a, b = (torch.randn(size, size, device=kind.device, generator=generator).to(kind.dtype) for _ in range(2))
    ways: list[Callable[[Tensor, Tensor], Tensor]] = [torch.mm]
    if kind == Kind(torch.device("cpu"), torch.float32) and has_onednn():
        ways.append(onednn_linear)
    if kind == Kind(torch.device("cpu"), torch.bfloat16):
        ways.append(widened_linear)
    return 2 * size**3 / min(_seconds(multiply, a, b) for multiply in ways for _ in range(6))


def _seconds(multiply: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor) -> float:
    _finish(a.device)
    started = time.perf_counter()
    multiply(a, b)
    _finish(a.device)
    return time.perf_counter() - started


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
