"""Stands in for vLLM under `vllm_worker.py`: what the worker uses of it, with tokens made up from the seed and the weights.

TRUING_FAKE_VLLM names a folder: what lies there is done once by the process that finds it, which takes it away.
"""

import hashlib
import os
import random
import signal
import time
from pathlib import Path
from types import SimpleNamespace

from vllm.sampling_params import SamplingParams

__all__ = ["LLM", "SamplingParams"]
__version__ = "0-fake"
print("vLLM prints where it likes")  # must not be taken for an answer


def told(what):
    """Whether a test asked for this, once."""
    order = Path(os.environ["TRUING_FAKE_VLLM"]) / what
    if not order.exists():
        return False
    order.unlink()
    return True


class LLM:
    def __init__(self, folder, **settings):
        if told("no memory"):
            raise ValueError("no memory for the cache")
        if told("hang at the start"):
            time.sleep(3600)
        assert settings["logprobs_mode"] == "processed_logprobs"
        self.llm_engine = self
        self._waiting = []
        self._idle_until = 0.0
        self._read(folder)

    def collective_rpc(self, method, kwargs):
        assert method == "reload_weights"
        if told("fail to load"):
            raise RuntimeError("half of the weights are new")
        self._read(kwargs["weights_path"])

    def apply_model(self, function):
        """It has no model: nothing to be done."""

    def reset_prefix_cache(self):
        return not told("keep the cache")

    def add_request(self, name, prompt, params):
        self._waiting.append((name, prompt["prompt_token_ids"], params))

    def has_unfinished_requests(self):
        return bool(self._waiting)

    def step(self):
        """The last request is finished first: answers come in no order."""
        if told("be slow"):
            self._idle_until = time.monotonic() + 4.0
        if time.monotonic() < self._idle_until:
            time.sleep(0.05)
            return []
        name, prompt, params = self._waiting.pop()
        if params.max_tokens > 1:
            if told("die") or (Path(os.environ["TRUING_FAKE_VLLM"]) / "die always").exists():
                os.kill(os.getpid(), signal.SIGKILL)
            while (Path(os.environ["TRUING_FAKE_VLLM"]) / "hang").exists():
                time.sleep(0.01)
            if told("hang for good"):
                time.sleep(3600)
        drawn = random.Random(f"{self._digest} {prompt} {params.seed}")
        tokens = [drawn.randrange(5, 250) for _ in range(params.max_tokens)]
        logprobs = [{token: SimpleNamespace(logprob=-drawn.random())} for token in tokens]
        ends = [place for place, token in enumerate(tokens) if token in params.stop_token_ids]
        length = ends[0] + 1 if ends else len(tokens)
        one = SimpleNamespace(
            token_ids=tokens[:length], logprobs=logprobs[:length], finish_reason="stop" if ends else "length", index=0
        )
        return [SimpleNamespace(request_id=name, finished=True, outputs=[one])]

    def _read(self, folder):
        self._digest = hashlib.sha256((Path(folder) / "model.safetensors").read_bytes()).hexdigest()
