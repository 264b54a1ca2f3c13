"""W1, truing's side: the losses and the steps of `truing sft`, on tokens."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel

from benchmarks.ours import common
from benchmarks.peers.serve import serve
from truing.train.examples import Example
from truing.train.sft import losses


class Ours:
    def __init__(self, job: dict[str, Any]) -> None:
        self._job = job
        self._budget = common.micro_batch_tokens(job)
        self._examples = [
            Example(row["tokens"], [index >= row["trained_from"] for index in range(len(row["tokens"]))]) for row in job["rows"]
        ]
        common.policy(job)

    def parity(self, out: str) -> dict[str, Any]:
        model = common.policy(self._job)
        return common.gradients(model, self._losses(model, self._job["steps"][0]), out)

    def run(self, _: dict[str, Any]) -> dict[str, Any]:
        return common.train(self._job, common.policy(self._job), self._losses)

    def _losses(self, model: PreTrainedModel, rows: list[int]) -> Any:
        return losses(model, [self._examples[row] for row in rows], self._budget)


if __name__ == "__main__":
    serve(Ours)
