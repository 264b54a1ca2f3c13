"""W1's peer: TRL's SFTTrainer, padded with like lengths together, or packed.

Settings: {"layout": "grouped" or "packed", "micro_batches": N}. Packed, each step's rows are laid into N packs of nearly equal
size, so that every optimiser step holds exactly the rows of the job; the trainer is told that they are packed (`bfd`), and keeps
neighbours apart by position ids, as it does with its own packs.
"""

from __future__ import annotations

from typing import Any

from datasets import Dataset
from serve import serve
from transformers import AutoModelForCausalLM
from trl import SFTConfig, SFTTrainer
from trl_common import GivenBatches, first_step, sorted_micro_batches, timed, tokenizer_of, trainer_arguments


class Trainer(GivenBatches, SFTTrainer):
    pass


class Peer:
    def __init__(self, job: dict[str, Any]) -> None:
        self._job = job
        self._tokenizer = tokenizer_of(job)
        self._model()

    def parity(self, out: str) -> dict[str, Any]:
        job = {**self._job, "optimiser": {**self._job["optimiser"], "max_grad_norm": 0.0}}
        return first_step(self._trainer({"layout": "grouped", "micro_batches": 2}, job), out)

    def run(self, settings: dict[str, Any]) -> dict[str, Any]:
        return timed(self._trainer(settings))

    def _model(self, attention: str = "sdpa") -> AutoModelForCausalLM:
        return AutoModelForCausalLM.from_pretrained(self._job["model"], dtype="float32", attn_implementation=attention)

    def _trainer(self, settings: dict[str, Any], job: dict[str, Any] | None = None) -> Trainer:
        job = job or self._job
        steps, n_micro = job["steps"], settings["micro_batches"]
        packed = settings["layout"] == "packed"
        rows = [_row(row) for row in job["rows"]]
        if packed:
            rows = [_pack([rows[row] for row in pack]) for step in steps for pack in _packs(step, rows, n_micro)]
            micro_batches = [[index] for index in range(len(rows))]
        else:
            micro_batches = sorted_micro_batches(steps, [len(row["input_ids"]) for row in rows], n_micro)
        arguments = trainer_arguments(
            job, n_micro, len(steps[0]), packing=packed, dataset_kwargs={"skip_prepare_dataset": True}, max_length=4096
        )
        trainer = Trainer(
            self._model(settings.get("attention", "sdpa")),
            SFTConfig(**arguments),
            train_dataset=Dataset.from_list(rows),
            processing_class=self._tokenizer,
        )
        trainer.micro_batches = micro_batches
        return trainer


def _row(row: dict[str, Any]) -> dict[str, Any]:
    tokens, start = row["tokens"], row["trained_from"]
    return {"input_ids": tokens, "labels": [-100] * start + tokens[start:]}


def _packs(step: list[int], rows: list[dict[str, Any]], n: int) -> list[list[int]]:
    """The longest row first, always into the emptiest pack."""
    packs: list[list[int]] = [[] for _ in range(n)]
    sizes = [0] * n
    for row in sorted(step, key=lambda row: -len(rows[row]["input_ids"])):
        emptiest = sizes.index(min(sizes))
        packs[emptiest].append(row)
        sizes[emptiest] += len(rows[row]["input_ids"])
    return packs


def _pack(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "input_ids": [token for row in rows for token in row["input_ids"]],
        "labels": [label for row in rows for label in row["labels"]],
        "seq_lengths": [len(row["input_ids"]) for row in rows],
    }


if __name__ == "__main__":
    serve(Peer)
