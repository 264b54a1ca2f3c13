"""W3, truing's side: the reference, the losses and the steps of `truing dpo`, on tokens."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from benchmarks.ours import common
from benchmarks.peers.serve import Stopwatch, serve
from truing.models.flops import FloorCounter
from truing.train.config import DPOConfig
from truing.train.dpo import Reference, losses, take_reference
from truing.train.rankings import rankings_of


class Ours:
    def __init__(self, job: dict[str, Any]) -> None:
        self._job = job
        self._config = DPOConfig(beta=job["beta"], reference=job["reference"], micro_batch_tokens=common.micro_batch_tokens(job))
        self._pairs = rankings_of(common.pair_examples(job))
        common.policy(job)

    def parity(self, out: str) -> dict[str, Any]:
        model = common.policy(self._job)
        reference = self._reference(model)
        return common.gradients(model, losses(model, self._pairs, self._job["steps"][0], reference, self._config), out)

    def run(self, _: dict[str, Any]) -> dict[str, Any]:
        model = common.policy(self._job)
        watch = Stopwatch()
        with FloorCounter() as floor, watch.timing():
            reference = self._reference(model)
        training = common.train(self._job, model, lambda model, rows: losses(model, self._pairs, rows, reference, self._config))
        reference_pass = {**watch.figures(), "floor_seconds": floor.seconds()}
        total = {name: value + training[name] for name, value in reference_pass.items()}
        return total | {"reference_seconds": watch.seconds}

    def _reference(self, model: PreTrainedModel) -> Reference:
        """Cached, it is computed anew each time: the cache's folder is."""
        return take_reference(model, self._pairs, self._config, Path(tempfile.mkdtemp(dir=self._job["scratch"])))


if __name__ == "__main__":
    serve(Ours)
