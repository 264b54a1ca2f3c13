"""One optimiser step: gradients of micro-batches added up, clipped, checked, applied at the scheduled learning rate."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from truing.errors import TruingError
from truing.losses.masked import LossOutput
from truing.models.flops import FloorCounter
from truing.train.config import OptimiserConfig

SPEED = ("step_s", "tokens_per_s", "floor_fraction")
"""Metrics of a step that say how fast it was. Of everything a step returns, only these differ when it is done again."""


class Stepper:
    """Moves one model. Weights kept in less than float32 get float32 masters, or small updates would round to nothing.

    `what` names the stage in error messages ("sft", "ppo value model"); `total_steps` is what the schedule ends at.
    """

    def __init__(self, model: nn.Module, config: OptimiserConfig, total_steps: int, what: str) -> None:
        self._config = config
        self._total_steps = total_steps
        self._what = what
        self.steps_done = 0
        self._weights = [weight for weight in model.parameters() if weight.requires_grad]
        self.masters = nn.ParameterList(_master(weight) for weight in self._weights)
        self.optimiser = _adamw(list(self.masters), config)

    @property
    def has_masters(self) -> bool:
        """Whether some weights are kept twice, so that `masters` belongs into a checkpoint."""
        return any(master is not weight for weight, master in zip(self._weights, self.masters, strict=True))

    def step(self, outputs: Iterable[LossOutput]) -> dict[str, float]:
        """Sum the gradients of `outputs` (made lazily, one micro-batch at a time) and apply them.

        Returns their metrics summed, with `loss`, `grad_norm` (before clipping), `lr` and what `SPEED` names. Raises TruingError
        where the loss or its gradient is not finite: the weights are then as they were.
        """
        started = time.perf_counter()
        totals: dict[str, Tensor] = {}
        with FloorCounter() as floor:
            for output in outputs:
                output.loss.backward()
                self._gather_gradients()
                for name, value in {"loss": output.loss, **output.metrics}.items():
                    totals[name] = totals.get(name, 0) + value.detach()
        totals["grad_norm"] = nn.utils.clip_grad_norm_(self.masters.parameters(), self._config.max_grad_norm)
        metrics = to_floats(totals)
        self._refuse_non_finite(metrics)
        metrics["lr"] = self._config.lr * schedule_factor(self._config, self.steps_done, self._total_steps)
        for group in self.optimiser.param_groups:
            group["lr"] = metrics["lr"]
        self.optimiser.step()
        self.optimiser.zero_grad()
        self._publish_weights()
        self.steps_done += 1
        step_s = time.perf_counter() - started
        return metrics | speed(floor, step_s)

    def _gather_gradients(self) -> None:
        for weight, master in zip(self._weights, self.masters, strict=True):
            if master is not weight and weight.grad is not None:
                master.grad = weight.grad.float() if master.grad is None else master.grad.add_(weight.grad)
                weight.grad = None

    @torch.no_grad()
    def _publish_weights(self) -> None:
        for weight, master in zip(self._weights, self.masters, strict=True):
            if master is not weight:
                weight.copy_(master)

    def _refuse_non_finite(self, metrics: dict[str, float]) -> None:
        if math.isfinite(metrics["loss"]) and math.isfinite(metrics["grad_norm"]):
            return
        raise TruingError(
            f"{self._what}, step {self.steps_done + 1} of {self._total_steps}: the loss is {metrics['loss']} and its gradient "
            f"norm {metrics['grad_norm']}. Stopped before they reached the weights; the last checkpoint is kept. Most often the "
            f"learning rate is too high (optimiser.lr = {self._config.lr:g}): lower it, or raise optimiser.warmup_fraction, and "
            "start over in another --out (--resume would go on with the same settings)."
        )


def _master(weight: nn.Parameter) -> nn.Parameter:
    return weight if weight.dtype == torch.float32 else nn.Parameter(weight.detach().float())


def _adamw(weights: Sequence[nn.Parameter], config: OptimiserConfig) -> AdamW:
    groups = [
        {"params": [w for w in weights if w.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [w for w in weights if w.ndim < 2], "weight_decay": 0.0},
    ]
    return AdamW([g for g in groups if g["params"]], lr=config.lr, betas=config.betas, eps=config.eps, fused=True)


def schedule_factor(config: OptimiserConfig, step: int, total_steps: int) -> float:
    """What multiplies the learning rate at `step` (from 0): a linear warm-up, then constant, or down to zero at the end."""
    warmup = math.ceil(config.warmup_fraction * total_steps)
    if step < warmup:
        return (step + 1) / warmup
    if config.schedule == "constant":
        return 1.0
    done = (step - warmup) / max(1, total_steps - warmup)
    return 1 - done if config.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))


def speed(floor: FloorCounter, elapsed_s: float) -> dict[str, float]:
    """What `SPEED` names, of the work that `floor` counted in `elapsed_s`."""
    return dict(zip(SPEED, (elapsed_s, floor.tokens / elapsed_s, floor.fraction(elapsed_s)), strict=True))


def mean_speed(rows: Iterable[Mapping[str, object]]) -> dict[str, float]:
    """Tokens a second and fraction of the floor over the steps that log `rows` tell of; nothing where they tell of none."""
    steps = [[float(str(row[name])) for name in SPEED] for row in rows if SPEED[0] in row]
    total_s = sum(step_s for step_s, _, _ in steps)
    if not steps:
        return {}
    tokens, floor_s = (sum(step[0] * step[index] for step in steps) for index in (1, 2))
    return {"tokens_per_s": tokens / total_s, "floor_fraction": floor_s / total_s}


def to_floats(values: dict[str, Tensor]) -> dict[str, float]:
    """Scalars moved off their device at once."""
    numbers: list[float] = torch.stack([value.detach().float() for value in values.values()]).tolist()
    return dict(zip(values, numbers, strict=True))
