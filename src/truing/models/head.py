"""The language-model head, only where it counts, in tiles: no N x V tensor, forward or backward.

A tile of logits is reduced to log-probabilities and made again in the backward pass, where it becomes its own gradient in
place; where one tile is all, it is kept for that. With p = softmax(logits), d logprob / d logits = onehot(target) - p. Where
only the sum of the log-probabilities is wanted (supervised fine-tuning), every tile's gradient is known as soon as the tile is,
and nothing is made twice.

Shapes: N selected positions, D hidden width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from truing.models.products import FastLinear, OneDnnLinear, WidenedLinear, onednn_linear

_TILE_ELEMENTS = {"cpu": 2**22, "cuda": 2**28}
"""Logits that one product makes: enough to keep a processor busy."""
_TILE_ROWS = 256
"""... but no fewer positions than make a matrix product worth its start: with 40, a vocabulary of 50,000 took twice as long."""
_TILE_ROWS_ONEDNN = 128
"""... and by oneDNN, whose results the allocator can hand out again while they are smaller than 32 MiB."""
_STRIP_ELEMENTS = {"cpu": 2**19, "cuda": 2**28}
"""Of these, as many as stay in a processor's cache while a softmax is made of them in float32."""
_ADDED = 2**22
"""Numbers of a weight's gradient up to which a product added to it costs less than one that adds on its own."""
_LINE = 64
"""Numbers that rows of logits are rounded up to: into rows that begin anywhere, products run at half speed (V = 50,257)."""


class TokenScores(NamedTuple):
    """Log-probability of each selected token in nats, and where asked for the entropy of the distribution, for the log only:
    no gradient flows through it.
    """

    logprobs_N: Tensor
    entropy_N: Tensor | None


class LogitTransform(NamedTuple):
    """From the head's output to the logits that are drawn from: cap * tanh(scale * x / cap) / temperature."""

    scale: float
    cap: float | None
    temperature: float

    @classmethod
    def of(cls, model: PreTrainedModel, temperature: float) -> LogitTransform:
        """As `model.config` names it."""
        config = model.config
        scale = (getattr(config, "logit_scale", None) or 1.0) / (getattr(config, "logits_scaling", None) or 1.0)
        return cls(float(scale), getattr(config, "final_logit_softcapping", None), temperature)

    def apply_(self, logits_NV: Tensor) -> Tensor:
        """In place where no gradient is recorded; returns the logits that are drawn from."""
        in_place = not torch.is_grad_enabled()
        if self.cap is None:
            factor = self.scale / self.temperature
            if factor == 1.0:
                return logits_NV
            return logits_NV.mul_(factor) if in_place else logits_NV * factor
        if in_place:
            return logits_NV.mul_(self.scale / self.cap).tanh_().mul_(self.cap / self.temperature)
        return torch.tanh(logits_NV * (self.scale / self.cap)) * (self.cap / self.temperature)

    def backward_(self, grad_NV: Tensor, drawn_from_NV: Tensor | None) -> Tensor:
        """The gradient with respect to the head's output, in place. With a cap it needs the transformed logits."""
        grad_NV.mul_(self.scale / self.temperature)
        if self.cap is not None and drawn_from_NV is not None:
            grad_NV.mul_(1 - (drawn_from_NV * (self.temperature / self.cap)) ** 2)
        return grad_NV


def head_logits(model: PreTrainedModel, hidden_ND: Tensor) -> Tensor:
    """Next-token logits [N, V] in float32 at temperature 1."""
    head: Any = model.get_output_embeddings()
    logits_NV: Tensor = head(hidden_ND.float() if isinstance(head, WidenedLinear) else hidden_ND)
    return LogitTransform.of(model, 1.0).apply_(logits_NV.float())


def score_tokens(
    model: PreTrainedModel,
    hidden_ND: Tensor,
    targets_N: Tensor,
    *,
    temperature: float = 1.0,
    entropy: bool = False,
    summed: bool = False,
    tiled: bool = True,
) -> TokenScores:
    """Log-probabilities of `targets_N` after `hidden_ND`. `tiled=False` makes all logits at once, to compare with.

    `summed` promises that the loss weighs all positions alike, which saves a quarter of the head's work; where the promise is
    not kept, the gradient is right all the same.

    A head that is not a plain linear layer (an adapter on it, say) runs in tiles that autograd recomputes.
    """
    head: Any = model.get_output_embeddings()
    transform = LogitTransform.of(model, temperature)
    if not tiled or len(targets_N) == 0:
        return _score_tile(head, hidden_ND, targets_N, transform, entropy)
    if type(head) is nn.Linear or isinstance(head, FastLinear):
        weight_VD: Tensor = head.weight
        bias_V: Tensor | None = head.bias
        if isinstance(head, WidenedLinear):  # nothing is rounded between the product and the softmax
            hidden_ND, weight_VD, bias_V = hidden_ND.float(), weight_VD.float(), None if bias_V is None else bias_V.float()
        room = _Room.of(head, hidden_ND)
        # torch leaves Function.apply without types
        scores = _LinearHead.apply(hidden_ND, weight_VD, bias_V, targets_N, transform, entropy, summed, room)  # type: ignore[no-untyped-call]
        return TokenScores(*scores)
    size = _rows(_TILE_ELEMENTS, head.weight, _TILE_ROWS)
    tiles = [
        TokenScores(*checkpoint(_score_tile, head, hidden, targets, transform, entropy, use_reentrant=False))
        for hidden, targets in zip(hidden_ND.split(size), targets_N.split(size), strict=True)
    ]
    entropies = [tile.entropy_N for tile in tiles if tile.entropy_N is not None]
    return TokenScores(torch.cat([tile.logprobs_N for tile in tiles]), torch.cat(entropies) if entropy else None)


def _score_tile(head: nn.Module, hidden_ND: Tensor, targets_N: Tensor, transform: LogitTransform, entropy: bool) -> TokenScores:
    logits_NV = transform.apply_(head(hidden_ND).float())
    logprobs_N = -functional.cross_entropy(logits_NV, targets_N, reduction="none")
    return TokenScores(logprobs_N, _entropy(logits_NV.detach()) if entropy else None)


def _entropy(logits_NV: Tensor) -> Tensor:
    logprobs_NV = functional.log_softmax(logits_NV, dim=-1)
    return -(logprobs_NV.exp() * logprobs_NV).sum(-1)


class _LinearHead(torch.autograd.Function):
    """Log-probabilities under a linear head, tile by tile, keeping only each position's logsumexp for the backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        targets_N: Tensor,
        transform: LogitTransform,
        entropy: bool,
        summed: bool,
        room: _Room,
    ) -> tuple[Tensor, Tensor | None]:
        logsumexp_N = hidden_ND.new_empty(len(hidden_ND), dtype=torch.float32)
        logprobs_N = torch.empty_like(logsumexp_N)
        entropy_N = torch.empty_like(logsumexp_N) if entropy else None
        wants_sums = summed and any(ctx.needs_input_grad)
        is_only = any(ctx.needs_input_grad) and not wants_sums and len(hidden_ND) <= room.tile_rows
        only: tuple[slice, Tensor] | None = None
        sums = _Gradients.empty(ctx.needs_input_grad, hidden_ND, bias_V, room.by_onednn) if wants_sums else None
        for tile, product_NV in room.products(hidden_ND, weight_VD, bias_V):
            for rows, floats_NV in room.strips(tile, product_NV, keep=wants_sums, spare=is_only):
                logits_NV = transform.apply_(floats_NV)
                if entropy_N is not None:
                    entropy_N[rows] = _entropy(logits_NV)
                kept_NV = logits_NV.clone() if transform.cap is not None and wants_sums else None
                at_target_N, largest_N1 = logits_NV.gather(1, targets_N[rows, None])[:, 0], logits_NV.amax(-1, keepdim=True)
                exp_NV = logits_NV.sub_(largest_N1).exp_()
                total_N = exp_NV.sum(-1)
                logsumexp_N[rows] = total_N.log().add_(largest_N1[:, 0])
                logprobs_N[rows] = at_target_N - logsumexp_N[rows]
                if wants_sums:
                    _become_gradient(exp_NV, total_N, targets_N[rows], torch.ones_like(total_N), transform, kept_NV)
            if sums is not None:
                sums.add_tile(tile, product_NV, hidden_ND, weight_VD)
            elif is_only:
                only = tile, product_NV
        ctx.save_for_backward(hidden_ND, weight_VD, bias_V, targets_N, logsumexp_N)
        ctx.transform, ctx.room, ctx.sums, ctx.only = transform, room, sums, only
        if entropy_N is not None:
            ctx.mark_non_differentiable(entropy_N)
        return logprobs_N, entropy_N

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_N, transform, room, sums = grads[0], ctx.transform, ctx.room, ctx.sums
        hidden_ND, weight_VD, bias_V, targets_N, logsumexp_N = ctx.saved_tensors
        if sums is not None and bool((grad_N == grad_N[0]).all()):
            ctx.sums = None  # they are scaled in place, so they serve once; a second backward pass makes its own
            return (*sums.scaled_(grad_N[0]).rounded(weight_VD.dtype), *(None,) * 5)
        gradients = _Gradients.empty(ctx.needs_input_grad, hidden_ND, bias_V, room.by_onednn)
        only, ctx.only = ctx.only, None  # it is overwritten, too
        for tile, product_NV in room.products(hidden_ND, weight_VD, bias_V) if only is None else [only]:
            for rows, floats_NV in room.strips(tile, product_NV, keep=True):
                logits_NV = transform.apply_(floats_NV)
                kept_NV = logits_NV.clone() if transform.cap is not None else None
                exp_NV, total_N = logits_NV.sub_(logsumexp_N[rows, None]).exp_(), torch.ones_like(logsumexp_N[rows])
                _become_gradient(exp_NV, total_N, targets_N[rows], grad_N[rows], transform, kept_NV)
            gradients.add_tile(tile, product_NV, hidden_ND, weight_VD)
        return (*gradients.rounded(weight_VD.dtype), *(None,) * 5)


class _Room(NamedTuple):
    """How many rows of logits are made at once (a tile), and looked at in float32 at once (a strip of it)."""

    tile_rows: int
    strip_rows: int
    by_onednn: bool

    @classmethod
    def of(cls, head: nn.Linear, hidden_ND: Tensor) -> _Room:
        by_onednn = isinstance(head, OneDnnLinear) and head.suits(hidden_ND)
        tile_rows = _rows(_TILE_ELEMENTS, head.weight, _TILE_ROWS_ONEDNN if by_onednn else _TILE_ROWS)
        return cls(tile_rows, min(tile_rows, _rows(_STRIP_ELEMENTS, head.weight, 1)), by_onednn)

    def products(self, hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None) -> Iterator[tuple[slice, Tensor]]:
        """The head's output, tile by tile; the next overwrites it."""
        shape = (min(self.tile_rows, len(hidden_ND)), -(-len(weight_VD) // _LINE) * _LINE)
        # oneDNN takes room of its own, of which the allocator hands out the same again
        room_NV = None if self.by_onednn else weight_VD.new_empty(shape)[:, : len(weight_VD)]
        for start in range(0, len(hidden_ND), self.tile_rows):
            rows = slice(start, start + self.tile_rows)
            if room_NV is None:
                yield rows, onednn_linear(hidden_ND[rows], weight_VD, bias_V)
                continue
            product_NV = torch.mm(hidden_ND[rows], weight_VD.T, out=room_NV[: len(hidden_ND[rows])])
            yield rows, product_NV if bias_V is None else product_NV.add_(bias_V)

    def strips(self, tile: slice, product_NV: Tensor, *, keep: bool, spare: bool = False) -> Iterator[tuple[slice, Tensor]]:
        """The tile's rows in float32, a strip at a time, to be overwritten. What is written there goes into the tile if they are
        to `keep`, and never does if the tile is to be left as it is (`spare`).
        """
        is_tile = product_NV.dtype == torch.float32 and not spare
        room_NV = None if is_tile else torch.empty_like(product_NV[: self.strip_rows], dtype=torch.float32)
        for start in range(0, len(product_NV), self.strip_rows):
            strip_NV = product_NV[start : start + self.strip_rows]
            floats_NV = strip_NV if room_NV is None else room_NV[: len(strip_NV)].copy_(strip_NV)
            yield slice(tile.start + start, tile.start + start + len(strip_NV)), floats_NV
            if keep and room_NV is not None:
                strip_NV.copy_(floats_NV)


def _rows(elements: Mapping[str, int], weight_VD: Tensor, least: int) -> int:
    return max(least, elements.get(weight_VD.device.type, 2**24) // len(weight_VD))


@dataclass
class _Gradients:
    """Gradients of a linear head's input, weight and bias, filled tile by tile; None where not needed.

    Those of weight and bias are the first tile's as they come, so that one tile costs no pass over them; from the second on
    they are summed in float32.
    """

    hidden_ND: Tensor | None
    needs_weight: bool
    needs_bias: bool
    by_onednn: bool
    weight_VD: Tensor | None = None
    bias_V: Tensor | None = None

    @classmethod
    def empty(cls, is_needed: Sequence[bool], hidden_ND: Tensor, bias_V: Tensor | None, by_onednn: bool) -> _Gradients:
        of_hidden_ND = torch.empty_like(hidden_ND) if is_needed[0] else None
        return cls(of_hidden_ND, is_needed[1], bias_V is not None and is_needed[2], by_onednn)

    def add_tile(self, rows: slice, grad_NV: Tensor, hidden_ND: Tensor, weight_VD: Tensor) -> None:
        if self.needs_bias:
            tile_V = grad_NV.sum(0, dtype=torch.float32)
            self.bias_V = tile_V if self.bias_V is None else self.bias_V.add_(tile_V)
        if self.hidden_ND is not None:
            if self.by_onednn:
                self.hidden_ND[rows] = onednn_linear(grad_NV, weight_VD.T)
            else:
                torch.mm(grad_NV, weight_VD, out=self.hidden_ND[rows])
        if self.needs_weight:
            self.weight_VD = _plus_product(self.weight_VD, grad_NV, hidden_ND[rows], self.by_onednn)

    def scaled_(self, factor: Tensor) -> Self:
        """All of them times `factor`, in place."""
        for gradient in (self.hidden_ND, self.weight_VD, self.bias_V):
            if gradient is not None:
                gradient.mul_(factor)
        return self

    def rounded(self, dtype: torch.dtype) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """All of them in the dtype of the weights."""
        hidden_ND, weight_VD, bias_V = (
            None if gradient is None else gradient.to(dtype) for gradient in (self.hidden_ND, self.weight_VD, self.bias_V)
        )
        return hidden_ND, weight_VD, bias_V


def _become_gradient(
    exp_NV: Tensor, total_N: Tensor, targets_N: Tensor, grad_N: Tensor, transform: LogitTransform, drawn_from_NV: Tensor | None
) -> None:
    """Overwrite `exp_NV`, whose rows are the distribution times `total_N`, with `grad_N` times the gradient of the
    log-probabilities with respect to the head's output. With a cap it needs the transformed logits.
    """
    grad_NV = exp_NV.mul_(-(grad_N / total_N)[:, None])
    grad_NV.scatter_add_(1, targets_N[:, None], grad_N[:, None])
    transform.backward_(grad_NV, drawn_from_NV)


def _plus_product(total_VD: Tensor | None, grad_NV: Tensor, hidden_ND: Tensor, by_onednn: bool) -> Tensor:
    """total + grad^T hidden, summed in float32; the product itself where there is no total yet."""
    if by_onednn and (total_VD is None or total_VD.numel() <= _ADDED):
        product_VD = onednn_linear(grad_NV.T, hidden_ND.T)
        return product_VD if total_VD is None else total_VD.add_(product_VD)
    if total_VD is None:
        return grad_NV.T @ hidden_ND
    if total_VD.dtype == grad_NV.dtype == torch.float32:
        return total_VD.addmm_(grad_NV.T, hidden_ND)
    return total_VD.float().add_(grad_NV.T @ hidden_ND)
