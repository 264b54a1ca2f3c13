"""Where the shipped base model lies."""

from __future__ import annotations

from pathlib import Path

EMBEDDED = "embedded"
"""What a recipe writes for "the base model shipped with the package"."""


def base_model_path() -> Path:
    """The directory of the embedded world's base model (safetensors, tokenizer, chat template, model card)."""
    return Path(__file__).parent / "base"
