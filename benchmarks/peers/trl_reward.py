"""W2's peer: TRL's RewardTrainer. Settings: {"micro_batches": N}, pairs of like length together within a step."""

from __future__ import annotations

from typing import Any

from datasets import Dataset
from serve import serve
from transformers import AutoModelForSequenceClassification
from trl import RewardConfig, RewardTrainer
from trl_common import GivenBatches, first_step, sorted_micro_batches, timed, tokenizer_of, trainer_arguments


class Trainer(GivenBatches, RewardTrainer):
    pass


class Peer:
    def __init__(self, job: dict[str, Any]) -> None:
        self._job = job
        self._tokenizer = tokenizer_of(job)
        self._model()

    def parity(self, out: str) -> dict[str, Any]:
        job = {**self._job, "optimiser": {**self._job["optimiser"], "max_grad_norm": 0.0}}
        return first_step(self._trainer({"micro_batches": 2}, job), out)

    def run(self, settings: dict[str, Any]) -> dict[str, Any]:
        return timed(self._trainer(settings))

    def _model(self, attention: str = "sdpa") -> AutoModelForSequenceClassification:
        return AutoModelForSequenceClassification.from_pretrained(
            self._job["model"], dtype="float32", attn_implementation=attention
        )

    def _trainer(self, settings: dict[str, Any], job: dict[str, Any] | None = None) -> Trainer:
        job = job or self._job
        rows = [
            {"chosen_ids": pair["prompt"] + pair["chosen"], "rejected_ids": pair["prompt"] + pair["rejected"]}
            for pair in job["pairs"]
        ]
        lengths = [max(len(row["chosen_ids"]), len(row["rejected_ids"])) for row in rows]
        arguments = trainer_arguments(
            job,
            settings["micro_batches"],
            len(job["steps"][0]),
            max_length=None,
            center_rewards_coefficient=job["center_coefficient"],
        )
        trainer = Trainer(
            self._model(settings.get("attention", "sdpa")),
            RewardConfig(**arguments),
            train_dataset=Dataset.from_list(rows),
            processing_class=self._tokenizer,
        )
        trainer.micro_batches = sorted_micro_batches(job["steps"], lengths, settings["micro_batches"])
        return trainer


if __name__ == "__main__":
    serve(Peer)
