"""W2, truing's side: the losses and the steps of one member of `truing reward`, on tokens."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel

from benchmarks.ours import common
from benchmarks.peers.serve import serve
from truing.models.load import load_scorer
from truing.train.config import RewardConfig
from truing.train.rankings import rankings_of
from truing.train.reward_member import losses
from truing.train.session import ready_to_train


class Ours:
    def __init__(self, job: dict[str, Any]) -> None:
        self._job = job
        self._config = RewardConfig(
            center_coefficient=job["center_coefficient"],
            micro_batch_tokens=common.micro_batch_tokens(job),
        )
        self._pairs = rankings_of(common.pair_examples(job))
        self._scorer()

    def parity(self, out: str) -> dict[str, Any]:
        model = self._scorer()
        return common.gradients(model, self._losses(model, self._job["steps"][0]), out)

    def run(self, _: dict[str, Any]) -> dict[str, Any]:
        return common.train(self._job, self._scorer(), self._losses)

    def _scorer(self) -> PreTrainedModel:
        return ready_to_train(load_scorer(self._job["model"], common.load_settings(self._job)))

    def _losses(self, model: PreTrainedModel, rows: list[int]) -> Any:
        return losses(model, [self._pairs[row] for row in rows], self._config)


if __name__ == "__main__":
    serve(Ours)
