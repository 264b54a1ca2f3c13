"""Messages, prompts and demonstrations."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, JsonValue

from truing.records.base import Record, content_hash

Role = Literal["system", "user", "assistant"]


class Message(Record):
    """One turn of a conversation."""

    role: Role
    content: str


class Prompt(Record):
    """What a policy answers: a conversation that ends with a user turn.

    `kind` groups prompts in reports ("plain", "stated_opinion", ...); `meta` carries what a gold rule or an attack needs
    and never reaches the model.
    """

    prompt_id: str
    messages: tuple[Message, ...]
    kind: str = "plain"
    meta: dict[str, JsonValue] = Field(default_factory=dict)

    @classmethod
    def from_text(cls, text: str, kind: str = "plain", meta: dict[str, JsonValue] | None = None) -> Self:
        """A one-turn prompt, identified by its content."""
        return cls.from_messages((Message(role="user", content=text),), kind, meta)

    @classmethod
    def from_messages(cls, messages: tuple[Message, ...], kind: str = "plain", meta: dict[str, JsonValue] | None = None) -> Self:
        """A prompt identified by the hash of its messages, so that equal conversations share an id."""
        prompt_id = content_hash([[m.role, m.content] for m in messages])[:16]
        return cls(prompt_id=prompt_id, messages=messages, kind=kind, meta=meta or {})

    @property
    def text(self) -> str:
        """The last user turn."""
        return self.messages[-1].content


class Demonstration(Record):
    """A conversation whose assistant turns are to be imitated."""

    messages: tuple[Message, ...]
