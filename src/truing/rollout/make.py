"""Make the sampler that a run's settings ask for, or that a model needs."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from truing.models.config import LoadSettings
from truing.models.load import load_to_sample
from truing.rollout.config import EngineConfig
from truing.rollout.generate import GenerateSampler
from truing.rollout.local import LocalSampler
from truing.rollout.sampler import Sampler
from truing.rollout.vllm import VllmSampler


def make_sampler(
    config: EngineConfig, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, max_batch: int = 128
) -> Sampler:
    """A sampler of `model`, at most `max_batch` completions under way at once. Close it after use.

    Raises TruingError where vLLM is asked for and does not start.
    """
    if config.kind == "vllm":
        return VllmSampler(model, tokenizer, max_batch=max_batch, config=config.vllm)
    return LocalSampler(model, tokenizer, max_batch=max_batch, config=config.local)


def load_sampler(
    path: str | Path, settings: LoadSettings, tokenizer: PreTrainedTokenizerBase, engine: EngineConfig | None = None
) -> tuple[Sampler, str | None]:
    """A sampler of the model at `path`; with a notice for the user where it is the slow one, and why. Close it after use.

    Raises TruingError where vLLM is asked for and does not start.
    """
    engine = engine or EngineConfig()
    model, not_ragged = load_to_sample(path, settings)
    if not_ragged is None or engine.kind == "vllm":
        return make_sampler(engine, model, tokenizer), None
    return GenerateSampler(model, tokenizer), f"sampling through transformers' generate, which is slower: {not_ragged}"
