"""W6's peer: vLLM on the CPU, in one process. Settings: {"compile": false}; a run's seed gives every completion a seed of its
own.

Completions of one prompt are requests of their own, as in RL, and carry their log-probabilities. The prefix cache is reset
between runs, so that no run profits from the one before; within a run a group shares its prompt through it.
"""

from __future__ import annotations

import os
from typing import Any

os.environ.update(VLLM_ENABLE_V1_MULTIPROCESSING="0", HF_HUB_OFFLINE="1", VLLM_LOGGING_LEVEL="ERROR", VLLM_NO_USAGE_STATS="1")

import torch
import vllm
from safetensors.torch import save_file
from serve import Stopwatch, serve


class Peer:
    def __init__(self, job: dict[str, Any]) -> None:
        self._job = job
        self._engine = vllm.LLM(
            job["models"][job["weights"]],
            dtype=job["dtype"],
            skip_tokenizer_init=True,
            enforce_eager=True,
            kv_cache_memory_bytes=2**30,
            max_num_seqs=job["completions"],
            enable_chunked_prefill=False,  # with a seed a request it fails on a CPU ("CPU Generator does not use offset")
            logprobs_mode="processed_logprobs",
            disable_log_stats=True,
        )

    def parity(self, out: str) -> dict[str, Any]:
        """Log-probabilities of greedy tokens."""
        prompts = self._job["prompts"][: self._job["parity_prompts"]]
        params = vllm.SamplingParams(temperature=0.0, max_tokens=self._job["parity_tokens"], logprobs=0, detokenize=False)
        outputs = self._engine.generate(_tokens(prompts), params, use_tqdm=False)
        rows = [[next(iter(place.values())).logprob for place in output.outputs[0].logprobs] for output in outputs]
        save_file({"logprobs": torch.tensor(rows)}, out)
        return {"loss": -float(torch.tensor(rows).mean())}

    def run(self, settings: dict[str, Any]) -> dict[str, Any]:
        job, group = self._job, self._job["samples_per_prompt"]
        prompts = [prompt for prompt in job["prompts"][: job["completions"] // group] for _ in range(group)]
        params = [
            vllm.SamplingParams(
                temperature=1.0,
                max_tokens=job["max_new_tokens"],
                stop_token_ids=[job["end"]],
                seed=settings["seed"] * len(prompts) + place,
                logprobs=0,
                detokenize=False,
            )
            for place in range(len(prompts))
        ]
        self._engine.reset_prefix_cache()
        watch = Stopwatch()
        with watch.timing():
            outputs = self._engine.generate(_tokens(prompts), params, use_tqdm=False)
        return {**watch.figures(), "tokens": sum(len(output.outputs[0].token_ids) for output in outputs)}


def _tokens(prompts: list[list[int]]) -> list[dict[str, list[int]]]:
    return [{"prompt_token_ids": prompt} for prompt in prompts]


if __name__ == "__main__":
    serve(Peer)
