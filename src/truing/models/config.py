"""Settings for loading a model. Torch-free."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from truing.config import Config

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Attention = Literal["auto", "segments", "blocks", "rectangles", "flex"]
Products = Literal["auto", "onednn", "torch", "widened"]
HeadInit = Literal["normal", "zeros"]


class LoRASettings(Config):
    """Low-rank adapters (Hu et al. 2021): each chosen linear layer W becomes W + alpha / rank * B A; only A and B are trained."""

    rank: int = Field(default=16, ge=1, description="rows of A, columns of B")
    alpha: float = Field(default=32.0, gt=0, description="scale of what the adapters add, before it is divided by the rank")
    target_modules: Literal["all-linear"] | tuple[str, ...] = Field(
        default="all-linear",
        description='names of linear layers, such as ["q_proj", "v_proj"]; "all-linear" leaves out only heads',
    )


class LoadSettings(Config):
    """How a model is put on a device."""

    device: str = Field(
        default="auto", description='"auto" (cuda where there is one, else cpu), or a torch device such as "cuda:1"'
    )
    dtype: Dtype = Field(default="auto", description='"auto" is bfloat16 on cuda and float32 elsewhere')
    trust_remote_code: bool = Field(default=False, description="run Python code that comes with the model; only if you trust it")
    attention: Attention = Field(
        default="auto",
        description='how unpadded batches attend: "segments" (where tokens stand; cpu), "blocks" (of queries, in bfloat16; cpu), '
        '"rectangles" (like lengths together; any device), "flex" (FlexAttention); "auto" is flex on cuda, segments on a cpu '
        "(blocks with bfloat16 where it has instructions for it) and rectangles elsewhere",
    )
    products: Products = Field(
        default="auto",
        description='what multiplies matrices on a CPU: "torch" (as torch sees fit), "onednn" (large ones of float32) or '
        '"widened" (bfloat16, in float32); "auto" is widened where the processor has no kernels for bfloat16, and onednn where '
        "its kernels are wider: on processors with AVX-512 that are not Intel's",
    )
    fused: bool = Field(
        default=True,
        description="on a CPU, RMS norms, rotary embedding and gated MLPs in one pass over memory each: same result, less time",
    )
    skip_unread: bool = Field(
        default=True,
        description="in the last layer, run only the tokens whose state a loss or a score reads: same result, less work",
    )
    gradient_checkpointing: bool = Field(
        default=False, description="recompute activations in the backward pass: slower, far less memory"
    )
    lora: LoRASettings | None = Field(
        default=None, description="train low-rank adapters in place of the weights (extra: truing[lora])"
    )
