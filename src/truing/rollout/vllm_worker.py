"""vLLM at the other end of two pipes. `rollout/vllm_process.py` runs this file as a script, by an interpreter that has vLLM; it
imports nothing of truing.

One JSON document a line, a request answered before the next is read:

    {"do": "start", "folder", "version", "dtype", "max_batch", "cache_gib"}  ->  {"version", "vllm"}
    {"do": "load", "folder", "version"}                                      ->  {"version"}
    {"do": "sample", "prompts": [[token, ...], ...], "requests": [[prompt number, seed], ...], "settings"}
                        ->  {"done"} as completions finish and, while none does, each second that steps are made,
                            then {"version", "completions": [[tokens, logprobs, is ended], ...]}

Whatever goes wrong is answered with {"error": text} and ends this process, so half-loaded weights are never served. It ends too
when its standard input closes, however the process that started it ends, and then takes `home` with it: the folder, named on the
command line, through which weights come.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any, TextIO

Document = dict[str, Any]
_SIGN_OF_LIFE_S = 1.0


class Engine:
    """vLLM with the weights it was last given, and their version."""

    def __init__(self, folder: str, version: int, dtype: str, max_batch: int, cache_gib: float) -> None:
        import vllm

        llm = vllm.LLM(
            folder,
            dtype=dtype,
            skip_tokenizer_init=True,  # tokens in, tokens out
            generation_config="vllm",  # no sampling defaults of the model's own
            logprobs_mode="processed_logprobs",  # of the distribution drawn from: the default's are not at the temperature
            enable_prefix_caching=True,
            block_size=32,  # tokens; prompts are shared in whole blocks, and a CPU's default of 128 would share no short one
            kv_cache_memory_bytes=int(cache_gib * 2**30),
            max_num_seqs=max_batch,
            enable_chunked_prefill=False,  # a prompt run in parts turns a request's seed back, which no CPU generator can
            enforce_eager=True,
            disable_log_stats=True,
        )
        self._llm = llm
        self._engine = llm.llm_engine
        self._asked = 0
        self.version = version
        self.vllm_version = vllm.__version__
        self._require_running()

    def _require_running(self) -> None:
        """Draw one token: kernels that do not fit the model are found now, not in the middle of a run."""
        list(self.sample([[0]], [[0, 0]], {"max_tokens": 1, "logprobs": 0, "detokenize": False}))

    def load(self, folder: str, version: int) -> None:
        """Replace the weights in place. What the prefix cache holds was computed with the weights before."""
        self._llm.collective_rpc("reload_weights", kwargs={"weights_path": folder})
        self._llm.apply_model(_pack_again)
        if not self._llm.reset_prefix_cache():
            raise RuntimeError("vLLM kept its prefix cache: prompts would be read with the weights before")
        self.version = version

    def sample(self, prompts: list[list[int]], requests: list[list[int]], settings: Document) -> Iterator[Document]:
        """Each request is one of its own with its own seed; those of one prompt find it in the prefix cache."""
        import vllm
        from vllm.sampling_params import RequestOutputKind

        places = {}
        for place, (prompt, seed) in enumerate(requests):
            name = str(self._asked)
            self._asked += 1
            params = vllm.SamplingParams(seed=seed, output_kind=RequestOutputKind.FINAL_ONLY, **settings)
            self._engine.add_request(name, {"prompt_token_ids": prompts[prompt]}, params)
            places[name] = place
        completions: list[Any] = [None] * len(requests)
        done, told_s = 0, time.monotonic()
        while self._engine.has_unfinished_requests():
            finished = [output for output in self._engine.step() if output.finished]
            for output in finished:
                completions[places[_name(output)]] = _completion(output.outputs[0])
            if finished or time.monotonic() - told_s > _SIGN_OF_LIFE_S:
                done, told_s = done + len(finished), time.monotonic()
                yield {"done": done}
        yield {"version": self.version, "completions": completions}


def _pack_again(model: Any) -> None:
    """Renew packed copies of weights that are kept unpacked too.

    On a CPU, vLLM (0.32) forgets a head that is tied to the embedding when it reloads weights, and goes on with the one before.
    """
    for module in model.modules():
        if hasattr(module, "cpu_linear") and module.weight.numel() > 0:
            module.quant_method.process_weights_after_loading(module)


def _name(output: Any) -> str:
    return str(output.request_id)


def _completion(output: Any) -> list[Any]:
    """Tokens, their log-probabilities, and whether it ended by itself."""
    tokens = list(output.token_ids)
    logprobs = [at[token].logprob for token, at in zip(tokens, output.logprobs, strict=True)]
    return [tokens, logprobs, output.finish_reason == "stop"]


def main(home: str) -> None:
    """Answer requests until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the process that started this one, which ends it
    answers = _take_stdout()
    requests: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read, args=(requests, home), daemon=True).start()
    engine = None
    try:
        while True:
            request = json.loads(requests.get())
            kind = request.pop("do")
            if kind == "start":
                engine = Engine(**request)
                _write(answers, {"version": engine.version, "vllm": engine.vllm_version})
                continue
            if engine is None:
                raise RuntimeError(f"'{kind}' before 'start'")
            if kind == "load":
                engine.load(**request)
                _write(answers, {"version": engine.version})
            elif kind == "sample":
                for answer in engine.sample(**request):
                    _write(answers, answer)
    except Exception as error:  # noqa: BLE001  # told to the process that started this one, whatever it is
        traceback.print_exc()
        sys.stderr.flush()
        _write(answers, {"error": f"{type(error).__name__}: {error}"})
        os._exit(1)  # vLLM's own threads would keep it alive


def _take_stdout() -> TextIO:
    """The standard output, for answers alone: what anything else prints goes to the standard error from now on."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _read(requests: queue.Queue[str], home: str) -> None:
    """Hand requests on. Read in a thread of its own, so that a closed input ends the process in the middle of anything."""
    for line in sys.stdin:
        requests.put(line)
    shutil.rmtree(home, ignore_errors=True)
    os._exit(0)


def _write(answers: TextIO, document: Document) -> None:
    answers.write(json.dumps(document) + "\n")
    answers.flush()


if __name__ == "__main__":
    del sys.path[0]  # this file's folder, whose vllm.py would be taken for the package
    main(sys.argv[1])
