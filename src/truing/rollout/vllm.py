"""vLLM (Kwon et al. 2023) as the engine, in a process of its own and, where wanted, from an environment of its own.

Weights go to it as a folder of safetensors that only this user can read, and are taken over in place, without a restart. Each
answer says which version drew it; another than the current one is refused. Where the process dies it is started again on the
current weights and draws the whole call again: seeds determine what is drawn, so nothing is lost but time.

What is drawn for a sample depends on `seed`, its prompt's place and its own, up to rounding: vLLM's arithmetic depends in its
last digits on what else is in the batch. The tokens are not the local engine's.
"""

from __future__ import annotations

import shutil
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from truing.errors import TruingError
from truing.models.forward import vocabulary_size
from truing.models.load import write_model
from truing.models.template import end_token_ids
from truing.records import Ending, SampledCompletion
from truing.rollout.config import VllmConfig
from truing.rollout.request import Request, requests_for, require_room
from truing.rollout.sampler import OnProgress, SamplingSettings, Speed
from truing.rollout.text import StopStrings
from truing.rollout.vllm_process import VllmProcess, WorkerFailed, interpreter
from truing.store.files import disk_errors


class VllmSampler:
    """A `Sampler` over vLLM, at most `max_batch` completions under way at once within `config.cache_gib` of cache.

    Raises TruingError where vLLM does not start on the model.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, config: VllmConfig, max_batch: int = 128
    ) -> None:
        self.tokenizer = tokenizer
        self.max_batch = max_batch
        self.weights_version = 0
        self.last_speed: Speed | None = None
        self.vllm_version: str | None = None
        self._config = config
        self._python = interpreter(config.python)
        self._process: VllmProcess | None = None
        self._directory = tempfile.TemporaryDirectory(prefix="truing-vllm-", ignore_cleanup_errors=True)
        self._home = Path(self._directory.name)
        self._set_model(model)
        try:
            self._folder = self._write_weights()
            self._start()
        except BaseException:
            self.close()
            raise

    @property
    def worker_pid(self) -> int | None:
        """Of the process that runs vLLM; None while there is none."""
        return None if self._process is None else self._process.pid

    def load_weights(self, model: PreTrainedModel, version: int) -> None:
        """See `Sampler.load_weights`. Adapters are merged; the model may change its weights while these are sampled from."""
        self._set_model(model)
        before, self._folder = self._folder, self._write_weights()
        self.weights_version = version
        if self._process is not None:
            try:
                self._require_version(self._process.ask({"do": "load", **self._weights()}))
            except WorkerFailed as failure:
                self._end()
                self._warn(failure)
        shutil.rmtree(before)

    def close(self) -> None:
        """End the process and remove the weights."""
        self._end()
        self._directory.cleanup()

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        samples_per_prompt: int,
        settings: SamplingSettings,
        seed: int,
        on_progress: OnProgress | None = None,
    ) -> list[list[SampledCompletion]]:
        """See `Sampler.sample`. Raises TruingError where vLLM dies `config.attempts` times over these prompts."""
        require_room("prompt", prompts, [settings.max_new_tokens] * len(prompts), self.model)
        requests = requests_for(prompts, samples_per_prompt, settings, seed)
        started = time.perf_counter()
        answer = self._ask_to_sample(self._question(prompts, requests, samples_per_prompt, settings), on_progress)
        done = [self._completion(*drawn, settings=settings) for drawn in answer["completions"]]
        self.last_speed = Speed(sum(len(one.tokens) for one in done), time.perf_counter() - started)
        return [done[i : i + samples_per_prompt] for i in range(0, len(done), samples_per_prompt)]

    def _question(
        self, prompts: Sequence[Sequence[int]], requests: Sequence[Request], samples_per_prompt: int, settings: SamplingSettings
    ) -> dict[str, Any]:
        return {
            "do": "sample",
            "prompts": [list(prompt) for prompt in prompts],
            "requests": [[number // samples_per_prompt, request.seed] for number, request in enumerate(requests)],
            "settings": {
                "max_tokens": settings.max_new_tokens,
                "min_tokens": settings.min_new_tokens,
                "temperature": settings.temperature,
                "top_p": settings.top_p,
                "top_k": settings.top_k or 0,
                "min_p": settings.min_p,
                "stop_token_ids": sorted(self._ends),
                "logprobs": 0,  # of the token drawn, and no others
                "detokenize": False,
            },
        }

    def _ask_to_sample(self, question: dict[str, Any], on_progress: OnProgress | None) -> dict[str, Any]:
        total, most = len(question["requests"]), 0

        def on_done(done: int) -> None:
            nonlocal most
            if on_progress is not None and done > most:  # a process started again counts from the beginning
                most = done
                on_progress(done, total)

        failures = []
        for _ in range(self._config.attempts):
            process = self._process or self._start()
            try:
                answer = process.ask(question, on_done)
                self._require_version(answer)
            except WorkerFailed as failure:
                self._end()
                failures.append(failure)
                if len(failures) < self._config.attempts:
                    self._warn(failure)
            else:
                return answer
        raise TruingError(
            f"vLLM failed {len(failures)} times over one batch (engine.vllm.attempts). The last time it {failures[-1]}\n"
            "What was trained up to the last checkpoint is on disk: mend the cause and run the same command with --resume, or "
            'go on with engine.kind = "local".'
        )

    def _start(self) -> VllmProcess:
        process = VllmProcess(self._python, self._home, torch.get_num_threads(), self._config.timeout_s)
        self._process = process
        try:
            answer = process.ask(
                {
                    "do": "start",
                    **self._weights(),
                    "dtype": str(self.model.dtype).removeprefix("torch."),
                    "max_batch": self.max_batch,
                    "cache_gib": self._config.cache_gib,
                }
            )
            self._require_version(answer)
        except WorkerFailed as failure:
            self._end()
            raise TruingError(_why_it_did_not_start(self._python, str(failure))) from None
        self.vllm_version = str(answer["vllm"])
        return process

    def _require_version(self, answer: dict[str, Any]) -> None:
        """Weights other than the current ones are a failure of the worker like any other."""
        if answer["version"] != self.weights_version:
            raise WorkerFailed(
                f"answered with version {answer['version']} of the weights; the current one is {self.weights_version}"
            )

    def _warn(self, failure: WorkerFailed) -> None:
        what = str(failure).partition("\n")[0]
        warnings.warn(f"vLLM {what}: starting it again on the current weights (version {self.weights_version})", stacklevel=3)

    def _end(self) -> None:
        if self._process is not None:
            self._process.end()
            self._process = None

    def _set_model(self, model: PreTrainedModel) -> None:
        self.model = model
        vocabulary = vocabulary_size(model)
        ends = end_token_ids(self.tokenizer, model.config, model.generation_config)
        self._ends = frozenset(end for end in ends if end < vocabulary)

    def _weights(self) -> dict[str, Any]:
        return {"folder": str(self._folder), "version": self.weights_version}

    def _write_weights(self) -> Path:
        """A model folder with the current weights, beside the one that vLLM has read: files under its maps are not touched."""
        folder = Path(tempfile.mkdtemp(prefix="weights-", dir=self._home))
        with disk_errors(folder):
            write_model(self.model, folder)
        return folder

    def _completion(
        self, tokens: Sequence[int], logprobs: Sequence[float], is_ended: bool, *, settings: SamplingSettings
    ) -> SampledCompletion:
        """Cut at the first stop string, which vLLM is not told of: one rule for both engines of what a completion's text is."""
        ending = Ending.END_OF_TURN if is_ended else Ending.LENGTH
        length = self._stop_at(tokens, settings)
        if length is not None and not (is_ended and length == len(tokens)):
            ending = Ending.STOP_STRING
        return SampledCompletion(
            tokens=tuple(tokens[:length]),
            logprobs=tuple(logprobs[:length]),
            ending=ending,
            weights_version=self.weights_version,
        )

    def _stop_at(self, tokens: Sequence[int], settings: SamplingSettings) -> int | None:
        """How many tokens there are up to and with the first stop string; None where there is none."""
        if not settings.stop:
            return None
        watch = StopStrings(self.tokenizer, settings.stop)
        found = (
            number for number, token in enumerate(tokens, start=1) if watch.found(token) and number > settings.min_new_tokens
        )
        return next(found, None)


def _why_it_did_not_start(python: str, failure: str) -> str:
    if "No module named 'vllm'" in failure:
        return (
            f"engine.kind = 'vllm', but {python} has no vLLM. Install truing[vllm], or name the interpreter of an environment "
            "with it in engine.vllm.python (docs/vllm.md)."
        )
    return (
        f"vLLM did not start ({python}): it {failure}\n"
        "Where memory is short, lower engine.vllm.cache_gib or sample_batch; where it cannot run this model, use "
        'engine.kind = "local". docs/vllm.md says what it needs.'
    )
