"""What truing's sides share: settings as a user would give them, a fresh model for every run, steps timed as the log times
them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedModel

from benchmarks.peers.serve import Stopwatch
from truing.losses.masked import LossOutput
from truing.models.config import LoadSettings
from truing.models.load import load_policy
from truing.train.config import OptimiserConfig
from truing.train.examples import Example, PairExample
from truing.train.session import ready_to_train
from truing.train.step import Stepper

Losses = Callable[[PreTrainedModel, list[int]], Iterable[LossOutput]]
"""The losses of one optimiser step, of the rows with these numbers."""


def load_settings(job: dict[str, Any]) -> LoadSettings:
    return LoadSettings(device=job["device"], dtype=job["dtype"])


def micro_batch_tokens(job: dict[str, Any]) -> int:
    """As the guide on speed advises."""
    if job["device"] != "cpu":
        return 8192
    return 4096 if job["dtype"] == "bfloat16" else 2048


def optimiser_config(job: dict[str, Any]) -> OptimiserConfig:
    return OptimiserConfig(**job["optimiser"], schedule="constant", warmup_fraction=0.0)


def policy(job: dict[str, Any]) -> PreTrainedModel:
    """The job's model as its training stage has it, read from disk."""
    return ready_to_train(load_policy(job["model"], load_settings(job)))


def pair_examples(job: dict[str, Any]) -> list[PairExample]:
    def example(prompt: list[int], reply: list[int]) -> Example:
        return Example(prompt + reply, [False] * len(prompt) + [True] * len(reply))

    return [
        PairExample(example(pair["prompt"], pair["chosen"]), example(pair["prompt"], pair["rejected"]), 1.0, 1.0, str(number))
        for number, pair in enumerate(job["pairs"])
    ]


def gradients(model: PreTrainedModel, outputs: Iterable[LossOutput], out: str) -> dict[str, float]:
    """The loss of one step; its gradients, unclipped, in `out`."""
    loss = backward(outputs)
    save_gradients(model, out)
    return {"loss": loss}


def backward(outputs: Iterable[LossOutput]) -> float:
    """The sum of the losses; their gradients are left in the weights."""
    total = 0.0
    for output in outputs:
        output.loss.backward()  # type: ignore[no-untyped-call]
        total += float(output.loss.detach())
    return total


def save_gradients(model: nn.Module, out: str, left_out: Collection[str] = ()) -> None:
    named = {name: weight.grad for name, weight in model.named_parameters() if name not in left_out}
    save_file({name: gradient.float() for name, gradient in named.items() if gradient is not None}, out)


def train(job: dict[str, Any], model: PreTrainedModel, losses: Losses) -> dict[str, float]:
    """Every step of the job, timed; with the floor of what was run, in seconds."""
    stepper = Stepper(model, optimiser_config(job), len(job["steps"]), "benchmark")
    watch, floor_s = Stopwatch(), 0.0
    with watch.timing():
        for rows in job["steps"]:
            metrics = stepper.step(losses(model, rows))
            floor_s += metrics["floor_fraction"] * metrics["step_s"]
    return {**watch.figures(), "floor_seconds": floor_s}
