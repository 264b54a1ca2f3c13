"""Settings of import and export."""

from __future__ import annotations

from typing import Literal

from truing.config import Config

PairFormat = Literal["trl", "trl_conversational", "hh_rlhf", "jsonl"]

PROMPT_NAMES = ("prompt", "instruction", "question", "input", "query", "context")
"""What a prompt's field is commonly called, the likelier first."""


class FieldNames(Config):
    """Which field of an annotation tool's project holds what. None = recognised by its name, or by being the only one left."""

    prompt: str | None = None
    first: str | None = None
    second: str | None = None
    question: str | None = None
    """The question (Argilla) or control (Label Studio) that holds the preference, where there are several."""
