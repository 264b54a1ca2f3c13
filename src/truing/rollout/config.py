"""Which engine draws completions, and what it may use. Torch-free."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from truing.config import Config


class VllmConfig(Config):
    """Settings of the vLLM engine, which runs in a process of its own."""

    python: str | None = None
    """The interpreter of the environment that holds vLLM, where it is not truing's own (vLLM pins other versions).

    In a recipe a path is relative to the recipe's folder; a bare name is looked for among the commands."""
    cache_gib: float = Field(default=1.0, gt=0)
    """Memory for its key/value cache."""
    attempts: int = Field(default=3, ge=1)
    """Times the engine is started for one batch of prompts before the run is given up: it is started again where it dies."""
    timeout_s: float = Field(default=600.0, gt=0)
    """Seconds without a sign of life from it, at its start, at new weights or in the middle of a batch, before it is killed."""


class LocalConfig(Config):
    """Settings of the engine in this process."""

    cache_gib: float = Field(default=4.0, gt=0)
    """Memory for its key/value cache while it draws: completions wait where it does not hold them all at once."""
    share_prompts: bool = True
    """On a CPU, keep a long prompt's keys and values once for all its samples, and read them once a step."""
    pack_weights: bool = True
    """While it draws, keep weights also as a CPU's products read them fastest: in oneDNN's order where `load.products` is onednn,
    in float32 where it is widened."""
    cuda_graphs: bool = True
    """Replay captured decoding steps where there is CUDA."""


class EngineConfig(Config):
    """The engine that draws completions: `local` in this process, or `vllm` in one of its own."""

    kind: Literal["local", "vllm"] = "local"
    local: LocalConfig = LocalConfig()
    vllm: VllmConfig = VllmConfig()
