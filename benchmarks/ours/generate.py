"""W6, truing's side: the local engine, which is what RL samples with."""

from __future__ import annotations

from typing import Any

import torch
from safetensors.torch import save_file

from benchmarks.ours import common
from benchmarks.peers.serve import Stopwatch, serve
from truing.models.flops import FloorCounter
from truing.models.load import load_policy, load_tokenizer
from truing.records import SampledCompletion
from truing.rollout.config import EngineConfig
from truing.rollout.make import make_sampler
from truing.rollout.sampler import SamplingSettings


class Ours:
    def __init__(self, job: dict[str, Any]) -> None:
        self._job = job
        folder = job["models"][job["weights"]]
        model, tokenizer = load_policy(folder, common.load_settings(job)), load_tokenizer(folder)
        self._sampler = make_sampler(EngineConfig(), model, tokenizer, max_batch=min(job["completions"], job["at_once"]))

    def parity(self, out: str) -> dict[str, Any]:
        """Log-probabilities of greedy tokens."""
        prompts = self._job["prompts"][: self._job["parity_prompts"]]
        settings = SamplingSettings(temperature=0.0, max_new_tokens=self._job["parity_tokens"])
        rows = self._sample(prompts, 1, settings, seed=0)
        logprobs = torch.tensor([row[0].logprobs for row in rows])
        save_file({"logprobs": logprobs}, out)
        return {"loss": -float(logprobs.mean())}

    def run(self, settings: dict[str, Any]) -> dict[str, Any]:
        job, group = self._job, self._job["samples_per_prompt"]
        drawing = SamplingSettings(temperature=1.0, max_new_tokens=job["max_new_tokens"])
        watch = Stopwatch()
        with FloorCounter() as floor, watch.timing():
            rows = self._sample(job["prompts"][: job["completions"] // group], group, drawing, seed=settings["seed"])
        tokens = sum(len(completion.tokens) for row in rows for completion in row)
        return {**watch.figures(), "floor_seconds": floor.seconds(), "tokens": tokens}

    def _sample(
        self, prompts: list[list[int]], samples: int, settings: SamplingSettings, seed: int
    ) -> list[list[SampledCompletion]]:
        return self._sampler.sample(prompts, samples_per_prompt=samples, settings=settings, seed=seed)


if __name__ == "__main__":
    serve(Ours)
