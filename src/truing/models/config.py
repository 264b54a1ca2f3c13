"""Settings for loading a model. Torch-free."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from truing.config import Config

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Attention = Literal["auto", "rectangles", "flex"]
HeadInit = Literal["normal", "zeros"]


class LoadSettings(Config):
    """How a model is put on a device."""

    device: str = Field(
        default="auto", description='"auto" (cuda where there is one, else cpu), or a torch device such as "cuda:1"'
    )
    dtype: Dtype = Field(default="auto", description='"auto" is bfloat16 on cuda and float32 elsewhere')
    trust_remote_code: bool = Field(default=False, description="run Python code that comes with the model; only if you trust it")
    attention: Attention = Field(
        default="auto",
        description='how unpadded batches attend: "rectangles" (like lengths together, any device), "flex" (FlexAttention); '
        '"auto" is flex on cuda and rectangles elsewhere',
    )
    gradient_checkpointing: bool = Field(
        default=False, description="recompute activations in the backward pass: slower, far less memory"
    )
