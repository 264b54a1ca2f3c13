"""W6's peers in transformers: `generate` on whole batches, and `generate_batch`, its continuous batching.

Settings of the job's `engine`: for "generate" {"batch": completions at once, "cache": "dynamic" or "static"}, for "continuous"
{}. Prompts are of one length, so `generate` pads nothing; it returns no log-probabilities, which saves it work that the other
engines do.
"""

from __future__ import annotations

import os
import warnings
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
warnings.filterwarnings("ignore")

import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from serve import Stopwatch, serve  # noqa: E402
from transformers import AutoModelForCausalLM, ContinuousBatchingConfig, GenerationConfig  # noqa: E402
from transformers.utils import logging  # noqa: E402

logging.set_verbosity_error()


class Peer:
    def __init__(self, job: dict[str, Any]) -> None:
        self._job = job
        self._model = AutoModelForCausalLM.from_pretrained(
            job["models"][job["weights"]], dtype=job["dtype"], attn_implementation="sdpa"
        )
        self._model.eval().to(job["device"])

    def parity(self, out: str) -> dict[str, Any]:
        """Log-probabilities of greedy tokens."""
        prompts = self._job["prompts"][: self._job["parity_prompts"]]
        config = GenerationConfig(max_new_tokens=self._job["parity_tokens"], do_sample=False, pad_token_id=self._job["pad"])
        tokens = self._continuous(prompts, config, 0) if self._job["engine"] == "continuous" else self._generate(prompts, config)
        whole = torch.tensor([[*prompt, *completion] for prompt, completion in zip(prompts, tokens, strict=True)])
        whole = whole.to(self._model.device)
        with torch.no_grad():
            logprobs = self._model(input_ids=whole[:, :-1]).logits.float().log_softmax(-1)
        chosen = logprobs.gather(2, whole[:, 1:, None])[:, -self._job["parity_tokens"] :, 0].cpu().contiguous()
        save_file({"logprobs": chosen}, out)
        return {"loss": -float(chosen.mean())}

    def run(self, settings: dict[str, Any]) -> dict[str, Any]:
        job = self._job
        group = job["samples_per_prompt"]
        prompts = [prompt for prompt in job["prompts"][: job["completions"] // group] for _ in range(group)]
        config = GenerationConfig(
            max_new_tokens=job["max_new_tokens"],
            do_sample=True,
            temperature=1.0,
            top_k=0,
            eos_token_id=job["end"],
            pad_token_id=job["pad"],
            cache_implementation="static" if settings.get("cache") == "static" else None,
            disable_compile=True,
        )
        torch.manual_seed(settings["seed"])
        watch = Stopwatch()
        with watch.timing():
            if job["engine"] == "continuous":
                completions = self._continuous(prompts, config, settings["seed"])
            else:
                size = settings["batch"]
                parts = (prompts[start : start + size] for start in range(0, len(prompts), size))
                completions = [row for part in parts for row in self._generate(part, config)]
        return {**watch.figures(), "tokens": sum(token != job["pad"] for row in completions for token in row)}

    def _generate(self, prompts: list[list[int]], config: GenerationConfig) -> list[list[int]]:
        batch = torch.tensor(prompts, device=self._model.device)
        output = self._model.generate(input_ids=batch, attention_mask=torch.ones_like(batch), generation_config=config)
        return output[:, batch.shape[1] :].tolist()  # type: ignore[no-any-return]

    def _continuous(self, prompts: list[list[int]], config: GenerationConfig, seed: int) -> list[list[int]]:
        options = ContinuousBatchingConfig(seed=seed, page_size=64, num_blocks=4 * len(prompts), max_batch_tokens=1024)
        outputs = self._model.generate_batch(prompts, generation_config=config, continuous_batching_config=options)
        return [output.generated_tokens for output in outputs.values()]


if __name__ == "__main__":
    serve(Peer)
