"""Make the sampler that a run's settings ask for."""

from __future__ import annotations

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from truing.errors import TruingError
from truing.rollout.config import EngineConfig
from truing.rollout.local import LocalSampler
from truing.rollout.sampler import Sampler


def make_sampler(
    config: EngineConfig, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, max_batch: int = 128
) -> Sampler:
    """A sampler of `model`, at most `max_batch` completions under way at once. Close it after use."""
    if config.kind == "vllm":
        raise TruingError("engine.kind = 'vllm': not built yet")
    return LocalSampler(model, tokenizer, max_batch=max_batch, config=config.local)
