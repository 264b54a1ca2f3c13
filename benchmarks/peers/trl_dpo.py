"""W3's peer: TRL's DPOTrainer, its reference live or computed beforehand.

Settings: {"micro_batches": N}, pairs of like length together within a step. With a cached reference the pass that computes it is
timed with the training that uses it.
"""

from __future__ import annotations

import uuid
from typing import Any

from datasets import Dataset
from serve import Stopwatch, serve
from transformers import AutoModelForCausalLM
from trl import DPOConfig, DPOTrainer
from trl_common import GivenBatches, first_step, sorted_micro_batches, timed, tokenizer_of, trainer_arguments


class Trainer(GivenBatches, DPOTrainer):
    """`reference_watch` times the reference pass of the constructor."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.reference_watch = Stopwatch()
        super().__init__(*args, **kwargs)

    def _prepare_dataset(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
        return dataset  # tokens already

    def _precompute_ref_logps(self, dataset: Dataset, *args: Any) -> Dataset:
        dataset._fingerprint = uuid.uuid4().hex  # else a run would find what the run before it computed
        with self.reference_watch.timing():
            return super()._precompute_ref_logps(dataset, *args)


class Peer:
    def __init__(self, job: dict[str, Any]) -> None:
        self._job = job
        self._tokenizer = tokenizer_of(job)
        self._model()

    def parity(self, out: str) -> dict[str, Any]:
        job = {**self._job, "optimiser": {**self._job["optimiser"], "max_grad_norm": 0.0}}
        return first_step(self._trainer({"micro_batches": 2}, job), out)

    def run(self, settings: dict[str, Any]) -> dict[str, Any]:
        trainer = self._trainer(settings)
        reference, training = trainer.reference_watch.figures(), timed(trainer)
        return {name: reference[name] + training[name] for name in training} | {"reference_seconds": reference["seconds"]}

    def _model(self, attention: str = "sdpa") -> AutoModelForCausalLM:
        return AutoModelForCausalLM.from_pretrained(self._job["model"], dtype="float32", attn_implementation=attention)

    def _trainer(self, settings: dict[str, Any], job: dict[str, Any] | None = None) -> Trainer:
        job = job or self._job
        # The reference pass goes through the rows in their order, so like lengths stand together there too.
        order = [row for part in self._micro_batches(job, settings) for row in part]
        pairs = [job["pairs"][row] for row in order]
        rows = [{"prompt_ids": pair["prompt"], "chosen_ids": pair["chosen"], "rejected_ids": pair["rejected"]} for pair in pairs]
        arguments = trainer_arguments(
            job,
            settings["micro_batches"],
            len(job["steps"][0]),
            max_length=None,
            beta=job["beta"],
            precompute_ref_log_probs=job["reference"] == "cached",
        )
        trainer = Trainer(
            self._model(settings.get("attention", "sdpa")),
            args=DPOConfig(**arguments),
            train_dataset=Dataset.from_list(rows),
            processing_class=self._tokenizer,
        )
        size = len(job["steps"][0]) // settings["micro_batches"]
        trainer.micro_batches = [list(range(start, start + size)) for start in range(0, len(rows), size)]
        return trainer

    def _micro_batches(self, job: dict[str, Any], settings: dict[str, Any]) -> list[list[int]]:
        lengths = [len(pair["prompt"]) + max(len(pair["chosen"]), len(pair["rejected"])) for pair in job["pairs"]]
        return sorted_micro_batches(job["steps"], lengths, settings["micro_batches"])


if __name__ == "__main__":
    serve(Peer)
