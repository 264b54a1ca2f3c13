"""Time vLLM on a file of requests; run by an interpreter that has vLLM (docs/vllm.md), and by nothing else of this repository.

    python benchmarks/peers/vllm_generate.py work.json

The file: {"model": folder, "prompts": [[token, ...], ...], "n": samples a prompt, "max_new_tokens": [one a completion, prompt
after prompt], "temperature": 0 for greedy, "seed": 0, "ignore_eos": true, "dtype": "float32" or "bfloat16", "threads": 1,
"warmups": 1, "repeats": 5, "logprobs": true, "compile": false, "cache_gib": 1}.

Prints one line of JSON, last: {"times_s": [...], "tokens": completion tokens of a run, "prompt_tokens", "versions"}.

Completions of one prompt are requests of their own with a seed each, as in RL; vLLM's prefix cache is reset between runs, so that
no run profits from the one before.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any


def main(path: str) -> None:
    work = json.loads(Path(path).read_text())
    _prepare(work["threads"])
    import torch
    import vllm

    engine = vllm.LLM(
        work["model"],
        dtype=work["dtype"],
        skip_tokenizer_init=True,
        enforce_eager=not work.get("compile", False),
        kv_cache_memory_bytes=int(work.get("cache_gib", 1) * 2**30),
        max_num_seqs=max(len(work["max_new_tokens"]), 1),
        logprobs_mode="processed_logprobs",
        disable_log_stats=True,
    )
    prompts, params = _requests(work, vllm.SamplingParams)
    times_s, tokens = [], 0
    for run in range(work.get("warmups", 1) + work.get("repeats", 5)):
        engine.reset_prefix_cache()
        started = time.perf_counter()
        outputs = engine.generate(prompts, params, use_tqdm=False)
        took_s = time.perf_counter() - started
        tokens = sum(len(output.outputs[0].token_ids) for output in outputs)
        if run >= work.get("warmups", 1):
            times_s.append(took_s)
    report = {
        "times_s": times_s,
        "tokens": tokens,
        "prompt_tokens": sum(len(prompt["prompt_token_ids"]) for prompt in prompts),
        "versions": {"vllm": vllm.__version__, "torch": torch.__version__, "threads": torch.get_num_threads()},
    }
    print(json.dumps(report), flush=True)


def _prepare(threads: int) -> None:
    """One process with as many threads as asked for: what vLLM's start-up would otherwise choose by itself."""
    os.environ.update(
        VLLM_ENABLE_V1_MULTIPROCESSING="0", OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads), HF_HUB_OFFLINE="1"
    )
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")


def _requests(work: dict[str, Any], sampling_params: Any) -> tuple[list[dict[str, list[int]]], list[Any]]:
    n = work.get("n", 1)
    prompts = [{"prompt_token_ids": prompt} for prompt in work["prompts"] for _ in range(n)]
    params = [
        sampling_params(
            temperature=work.get("temperature", 0.0),
            max_tokens=longest,
            ignore_eos=work.get("ignore_eos", True),
            seed=work.get("seed", 0) + place if work.get("temperature", 0.0) > 0 else None,
            logprobs=0 if work.get("logprobs", True) else None,
            detokenize=False,
        )
        for place, longest in enumerate(work["max_new_tokens"])
    ]
    return prompts, params


if __name__ == "__main__":
    main(sys.argv[1])
