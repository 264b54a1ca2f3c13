"""What browsers and workers send, before anything of it is used."""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from truing.records import Record


class Sent(Record):
    """What a rater's browser or a worker sends as JSON; forms go through `without_nul` too (`web.Form`)."""

    @model_validator(mode="before")
    @classmethod
    def _has_no_nul(cls, value: Any) -> Any:
        return without_nul(value)


def without_nul(value: Any) -> Any:
    """The same text, texts in lists and in objects, without NUL characters: nobody sees them, and PostgreSQL keeps none."""
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, dict):
        return {without_nul(key): without_nul(part) for key, part in value.items()}
    return [without_nul(part) for part in value] if isinstance(value, list) else value
