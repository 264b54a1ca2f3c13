"""Messages from leads to raters, and back. Plain text; read when the person opens their page."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, or_, select, update

from truing.collect import audit
from truing.collect.errors import NotFoundError, ServiceError
from truing.collect.schema import account, message

LONGEST = 5_000
MOST_SHOWN = 100


@dataclass(frozen=True)
class Message:
    """One message; `from_lead` says which way it went. Times are seconds since 1970 UTC."""

    text: str
    from_lead: bool
    created_at: float
    read_at: float | None


def send(connection: Connection, recipient_id: int, text: str, *, now: float, by: int) -> None:
    """Send a message to a person. Raises ServiceError where it is empty or too long, NotFoundError where the person is gone."""
    text = text.strip()
    if not text or len(text) > LONGEST:
        raise ServiceError(f"text: write between 1 and {LONGEST:,} characters")
    erased = connection.execute(select(account.c.erased_at).where(account.c.id == recipient_id)).one_or_none()
    if erased is None or erased.erased_at is not None:
        raise NotFoundError("there is nobody there to read it")
    connection.execute(insert(message).values(sender_id=by, recipient_id=recipient_id, text=text, created_at=now))
    audit.record(connection, "message.sent", f"account:{recipient_id}", now=now, by=by)


def answer_lead(connection: Connection, account_id: int, text: str, *, now: float) -> None:
    """A rater's answer: it goes to the lead who wrote last. Raises NotFoundError where none has written."""
    wrote = select(message.c.sender_id).where(message.c.recipient_id == account_id, message.c.sender_id.is_not(None))
    lead_id = connection.scalar(wrote.order_by(message.c.id.desc()).limit(1))
    if lead_id is None:
        raise NotFoundError("no lead has written to you yet")
    send(connection, lead_id, text, now=now, by=account_id)


def thread(connection: Connection, account_id: int) -> list[Message]:
    """What went between a rater and any lead, newest first."""
    both = or_(message.c.recipient_id == account_id, message.c.sender_id == account_id)
    rows = connection.execute(select(message).where(both).order_by(message.c.id.desc()).limit(MOST_SHOWN))
    return [Message(row.text, row.recipient_id == account_id, row.created_at, row.read_at) for row in rows]


def unread(connection: Connection, account_id: int) -> int:
    """How many messages wait to be read by a person."""
    waiting = (message.c.recipient_id == account_id, message.c.read_at.is_(None))
    return connection.scalar(select(func.count()).select_from(message).where(*waiting)) or 0


def unread_by_sender(connection: Connection, account_id: int) -> dict[int, int]:
    """How many messages wait to be read by a person, by who sent them."""
    waiting = (message.c.recipient_id == account_id, message.c.read_at.is_(None))
    rows = connection.execute(select(message.c.sender_id, func.count()).where(*waiting).group_by(message.c.sender_id))
    return {int(sender_id): int(number) for sender_id, number in rows if sender_id is not None}


def mark_read(connection: Connection, account_id: int, *, now: float, sender_id: int | None = None) -> None:
    """Note that a person has read what they were sent (by `sender_id`, or by anyone)."""
    waiting = [message.c.recipient_id == account_id, message.c.read_at.is_(None)]
    if sender_id is not None:
        waiting.append(message.c.sender_id == sender_id)
    connection.execute(update(message).where(*waiting).values(read_at=now))
