"""What comes in, before anything of it is used: without NUL characters, which nobody sees and PostgreSQL keeps none of.

Forms go through `without_nul` (`web.Form`), JSON is `Sent`, and an address with one is refused (`security.Guard`).
"""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import model_validator

from truing.records import Record

Read = TypeVar("Read", bound=Record)


class Sent(Record):
    """What a browser, a worker or a program sends as JSON."""

    @model_validator(mode="before")
    @classmethod
    def _has_no_nul(cls, value: Any) -> Any:
        return without_nul(value)


def without_nul(value: Any) -> Any:
    """The same text, texts in lists and in objects, without NUL characters."""
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, dict):
        return {without_nul(key): without_nul(part) for key, part in value.items()}
    return [without_nul(part) for part in value] if isinstance(value, list) else value


def cleaned(record: Read) -> Read:
    """The same record, read from a file, without NUL characters."""
    if "\\u0000" not in record.model_dump_json():
        return record
    return type(record).model_validate(without_nul(record.model_dump(mode="json")))
