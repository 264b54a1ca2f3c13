"""What the TRL peers share: arguments tuned for speed, the same rows in every optimiser step, the clock, and the gradients.

A step's rows are given by the job. How they are cut into micro-batches is TRL's to choose, so it is a setting that the harness
tunes: rows are sorted by length within the step and cut into `micro_batches` parts of as many rows, which is what grouping by
length could do at its best.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from typing import Any

os.environ.update(
    HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false", TQDM_DISABLE="1", HF_HUB_DISABLE_TELEMETRY="1"
)
warnings.filterwarnings("ignore")

import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from serve import Stopwatch  # noqa: E402
from transformers import AutoTokenizer, TrainerCallback  # noqa: E402
from transformers.utils import logging  # noqa: E402

logging.set_verbosity_error()
logging.disable_progress_bar()


def trainer_arguments(job: dict[str, Any], micro_batches: int, rows_a_step: int, **others: Any) -> dict[str, Any]:
    """Arguments of any TRL trainer: nothing logged, saved or evaluated; float32 weights, bfloat16 by autocast."""
    optimiser = job["optimiser"]
    return {
        "output_dir": tempfile.mkdtemp(dir=job["scratch"]),
        "per_device_train_batch_size": max(1, rows_a_step // micro_batches),
        "gradient_accumulation_steps": micro_batches,
        "num_train_epochs": 1,
        "learning_rate": optimiser["lr"],
        "lr_scheduler_type": "constant",
        "warmup_steps": 0,
        "adam_beta1": optimiser["betas"][0],
        "adam_beta2": optimiser["betas"][1],
        "adam_epsilon": optimiser["eps"],
        "weight_decay": 0.0,
        "max_grad_norm": optimiser["max_grad_norm"],
        "optim": "adamw_torch_fused",
        "bf16": job["dtype"] == "bfloat16",
        "use_cpu": job["device"] == "cpu",
        "gradient_checkpointing": False,
        "logging_strategy": "no",
        "save_strategy": "no",
        "eval_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": False,
        "seed": 0,
        **others,
    }


def tokenizer_of(job: dict[str, Any]) -> Any:
    return AutoTokenizer.from_pretrained(job["model"])


def sorted_micro_batches(steps: list[list[int]], lengths: list[int], micro_batches: int) -> list[list[int]]:
    """Row numbers of every micro-batch: each step's rows by length, cut into equal parts."""
    parts = []
    for rows in steps:
        by_length = sorted(rows, key=lengths.__getitem__)
        size, rest = divmod(len(rows), micro_batches)
        if rest:
            raise ValueError(f"{len(rows)} rows a step do not divide into {micro_batches} micro-batches")
        parts += [by_length[start : start + size] for start in range(0, len(rows), size)]
    return parts


class GivenBatches:
    """Mixed into a trainer: micro-batches are those of `self.micro_batches`, in that order."""

    micro_batches: list[list[int]]

    def get_train_dataloader(self) -> torch.utils.data.DataLoader[Any]:
        rows = self._remove_unused_columns(self.train_dataset, "training")  # type: ignore[attr-defined]
        return torch.utils.data.DataLoader(rows, batch_sampler=self.micro_batches, collate_fn=self.data_collator)  # type: ignore[attr-defined]

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss = super().training_step(*args, **kwargs)  # type: ignore[misc]
        self.step_loss = getattr(self, "step_loss", 0.0) + float(loss)
        return loss


class Clock(TrainerCallback):
    """Runs from the start of training to the end of its last step: batches are made, steps taken, nothing is loaded."""

    def __init__(self) -> None:
        self.watch = Stopwatch()

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.watch.start()

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self.watch.stop()


class FirstGradients(TrainerCallback):
    """Keeps the first step's gradients and loss and ends training before the weights move."""

    def __init__(self, out: str, prefix: str) -> None:
        self._out, self._prefix = out, prefix

    def on_pre_optimizer_step(self, *_: Any, model: Any = None, **__: Any) -> None:
        save_gradients(model, self._out, self._prefix)
        raise FirstStepDone


class FirstStepDone(Exception):  # noqa: N818
    """Not an error: the gradients are written."""


def save_gradients(model: torch.nn.Module, out: str, prefix: str = "") -> None:
    gradients = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    save_file({prefix + name: gradient.float().contiguous() for name, gradient in gradients.items()}, out)


def first_step(trainer: Any, out: str, prefix: str = "") -> dict[str, float]:
    """The loss of the first step; its gradients in `out`, names after `prefix`. Needs a trainer with `max_grad_norm` 0."""
    trainer.add_callback(FirstGradients(out, prefix))
    try:
        trainer.train()
    except FirstStepDone:
        return {"loss": trainer.step_loss}
    raise RuntimeError("training ended without a step")


def timed(trainer: Any) -> dict[str, float]:
    clock = Clock()
    trainer.add_callback(clock)
    trainer.train()
    return clock.watch.figures()
