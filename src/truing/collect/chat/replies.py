"""Answers that live chats and items wait for: a queue in the database, from which workers elsewhere take.

A worker says now and then that it is still at work; one that dies leaves its requests to the next. What is sent for a request
that was answered meanwhile changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

from pydantic import Field
from sqlalchemy import Connection, and_, insert, or_, select, update

from truing.collect.answers import MAX_TEXT
from truing.collect.chat.config import PolicyName
from truing.collect.errors import NotFoundError
from truing.collect.schema import reply
from truing.collect.sent import Sent
from truing.records import Message, Record

TAKEN_S = 60.0
"""After so long without an answer or a word of its worker, a request is offered to another."""
MOST_TAKEN = 64


class ReplyRequest(Record):
    """One answer that is wanted of one policy. Who asked, and beside whom the answer will stand, is not said."""

    reply_id: int
    policy: str
    messages: tuple[Message, ...]


class WantedReplies(Record):
    """What a worker can do: the policies it samples from, and how many answers at once."""

    policies: tuple[PolicyName, ...] = Field(min_length=1, max_length=20)
    limit: int = Field(default=8, ge=1, le=MOST_TAKEN)


class ReplyRequests(Record):
    """The requests that a worker was given; empty = nobody waits."""

    requests: tuple[ReplyRequest, ...]


class HeldReplies(Record):
    """The requests that a worker is still at work on."""

    reply_ids: tuple[int, ...] = Field(min_length=1, max_length=MOST_TAKEN)


class WrittenReply(Sent):
    """A policy's answer, or why there is none."""

    text: str = Field(default="", max_length=MAX_TEXT)
    error: str = Field(default="", max_length=2_000)


class ReplyState(Record):
    """What became of a request."""

    reply_id: int
    state: Literal["waiting", "taken", "done", "failed"]


def ask(
    connection: Connection,
    policies: Sequence[str],
    messages: Sequence[Message],
    *,
    now: float,
    chat_id: int | None = None,
    turn: int = 0,
    item_id: int | None = None,
) -> None:
    """Want one answer of each policy to a conversation, for a turn of a chat or for an item."""
    shared = {"chat_id": chat_id, "turn": turn, "item_id": item_id, "state": "waiting", "asked_at": now, "text": "", "error": ""}
    said = [message.model_dump(mode="json") for message in messages]
    rows = [{**shared, "place": place, "policy": name, "messages": said} for place, name in enumerate(policies)]
    connection.execute(insert(reply), rows)


def take(connection: Connection, policies: Collection[str], limit: int, *, now: float) -> tuple[ReplyRequest, ...]:
    """The oldest requests that nobody is at work on, for a worker that samples from these policies."""
    is_free = or_(reply.c.state == "waiting", and_(reply.c.state == "taken", reply.c.taken_at < now - TAKEN_S))
    oldest = (
        select(reply.c.id)
        .where(is_free, reply.c.policy.in_(policies))
        .order_by(reply.c.chat_id.is_(None), reply.c.id)  # a rater in a chat waits now
        .limit(limit)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    taken = update(reply).where(reply.c.id.in_(oldest)).values(state="taken", taken_at=now)
    rows = connection.execute(taken.returning(reply.c.id, reply.c.policy, reply.c.messages)).all()
    return tuple(ReplyRequest(reply_id=row.id, policy=row.policy, messages=row.messages) for row in sorted(rows))


def renew(connection: Connection, reply_ids: Collection[int], *, now: float) -> None:
    """Their worker is still at work: nobody else is given them for `TAKEN_S` from now."""
    held = (reply.c.id.in_(reply_ids), reply.c.state == "taken")
    connection.execute(update(reply).where(*held).values(taken_at=now))


def finish(connection: Connection, reply_id: int, written: WrittenReply) -> ReplyState:
    """Keep an answer, the first that comes. Raises NotFoundError."""
    values = {"state": "failed", "error": written.error} if written.error else {"state": "done", "text": written.text}
    unanswered = (reply.c.id == reply_id, reply.c.state.in_(("waiting", "taken")))
    connection.execute(update(reply).where(*unanswered).values(**values))
    state = connection.scalar(select(reply.c.state).where(reply.c.id == reply_id))
    if state is None:
        raise NotFoundError("there is no such request")
    return ReplyState(reply_id=reply_id, state=state)
