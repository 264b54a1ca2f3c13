r"""The shapes in which people write conversations, read into messages.

A conversation is a list of {"role", "content"}, or one string: plain (one user turn), or in the manner of hh-rlhf with
"\n\nHuman:" and "\n\nAssistant:" before each turn.
"""

from __future__ import annotations

import re
from typing import Any, get_args

from truing.data.files import Row
from truing.errors import TruingError
from truing.records import Message, Role

_TURN = re.compile(r"\n\n(Human|Assistant):")
_ROLES: dict[Any, Role] = {role: role for role in get_args(Role)}
_SPEAKERS: dict[str, Role] = {"Human": "user", "Assistant": "assistant"}


def wrong(row: Row, field: str, problem: str) -> TruingError:
    """An error that names file, line and field."""
    return TruingError(f"{row.place}: field '{field}': {problem}")


def text_field(row: Row, field: str) -> str:
    """A string that must be there and hold something. Raises TruingError."""
    value = row.fields.get(field)
    if value is None:
        raise wrong(row, field, f"missing; the row has {', '.join(sorted(row.fields)) or 'no fields'}")
    if not isinstance(value, str):
        raise wrong(row, field, f"text is expected, not {type(value).__name__}")
    if not value.strip():
        raise wrong(row, field, "is empty; remove the row or fill it in")
    return value


def is_transcript(value: Any) -> bool:
    """Whether a string is written in the manner of hh-rlhf."""
    return isinstance(value, str) and _TURN.match("\n\n" + value.lstrip("\n")) is not None


def messages(row: Row, field: str) -> tuple[Message, ...]:
    """The conversation in `field`: a list of turns, a transcript, or plain text as one user turn. Raises TruingError."""
    value = row.fields.get(field)
    if is_transcript(value):
        return _transcript(row, field, str(value))
    if isinstance(value, list):
        return _listed(row, field, value)
    return (Message(role="user", content=text_field(row, field)),)


def _listed(row: Row, field: str, turns: list[Any]) -> tuple[Message, ...]:
    if not turns:
        raise wrong(row, field, "holds no turns")
    return tuple(_turn(row, f"{field}[{index}]", turn) for index, turn in enumerate(turns))


def _turn(row: Row, field: str, turn: Any) -> Message:
    if not isinstance(turn, dict):
        raise wrong(row, field, 'a turn is written {"role": ..., "content": ...}')
    role, content = _ROLES.get(turn.get("role")), turn.get("content")
    if role is None:
        raise wrong(row, f"{field}.role", f"one of {', '.join(_ROLES)} is expected, not {turn.get('role')!r}")
    if not isinstance(content, str) or not content.strip():
        raise wrong(row, f"{field}.content", "text is expected, and it may not be empty")
    return Message(role=role, content=content)


def _transcript(row: Row, field: str, text: str) -> tuple[Message, ...]:
    _, *parts = _TURN.split("\n\n" + text.lstrip("\n"))
    turns: list[Message] = []
    for speaker, said in zip(parts[::2], parts[1::2], strict=True):
        role, content = _SPEAKERS[speaker], said.strip()
        if not content:
            raise wrong(row, field, f"a turn of {speaker} is empty")
        if turns and turns[-1].role == role:
            turns[-1] = Message(role=role, content=f"{turns[-1].content}\n\n{content}")
        else:
            turns.append(Message(role=role, content=content))
    return tuple(turns)


def require_question(row: Row, field: str, turns: tuple[Message, ...]) -> tuple[Message, ...]:
    """The turns, where they end with a user's. Raises TruingError otherwise."""
    if not turns or turns[-1].role != "user":
        raise wrong(row, field, "must end with a user's turn: that is what is answered")
    return turns
