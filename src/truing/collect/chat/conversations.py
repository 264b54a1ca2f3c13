"""A live chat, turn by turn: the rater writes, two policies answer, the answers are compared, the better one goes on.

Each turn's answers become an ordinary item, leased to the rater at once, so that blinding, drafts, undo and exports are those of
every other item. Both answers are shown together once both are there: how long either took, nobody can see.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, insert, select, update

from truing.collect import campaigns, judgments, leases
from truing.collect.chat import replies
from truing.collect.chat.config import LiveConfig
from truing.collect.errors import ConflictError
from truing.collect.new_items import NewItem
from truing.collect.onboarding import admission
from truing.collect.onboarding.steps import Step
from truing.collect.schema import chat, item, reply
from truing.collect.words import MINUTE_S
from truing.records import Message, Prompt

MOST_CHARACTERS = 20_000
FAILED = "The answers could not be written. Send your message again."


@dataclass(frozen=True)
class Composing:
    """The rater is to write. `text` is what they wrote before, where it has to be sent again because of `problem`."""

    messages: tuple[Message, ...]
    text: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Waiting:
    """Both policies are at work."""

    messages: tuple[Message, ...]


@dataclass(frozen=True)
class Comparing:
    """The answers are there, as an item in the rater's hands."""

    lease_id: str


def state(
    connection: Connection, campaign_id: int, rater_id: int, *, now: float, rng: random.Random
) -> Composing | Waiting | Comparing | None:
    """Where a rater's conversation is, moved on as far as it can be. None: trial items come first.

    Raises ConflictError while the campaign is paused, or where its budget is used up, and what `admission.admit` raises.
    """
    row, live = _live(connection, campaign_id)
    config = campaigns.config_of(row)
    if admission.admit(connection, row, config, rater_id, now=now) is Step.CALIBRATION:
        return None
    found = _open(connection, campaign_id, rater_id)
    if found is None:
        return Composing(())
    if found["state"] == "waiting":
        return _answered(connection, found, live, now=now, rng=rng)
    if found["state"] == "comparing":
        return _compared(connection, found, live)
    return Composing(_messages(found))


def say(connection: Connection, campaign_id: int, rater_id: int, text: str, *, now: float, rng: random.Random) -> None:
    """The rater's next message: two policies are drawn and asked. Raises ConflictError where it is not the rater's turn."""
    row, live = _live(connection, campaign_id)
    admission.admit(connection, row, campaigns.config_of(row), rater_id, now=now)
    at = state(connection, campaign_id, rater_id, now=now, rng=rng)
    if not isinstance(at, Composing):
        raise ConflictError("it is not your turn: compare the answers that are there first")
    opening = (Message(role="system", content=live.system),) if live.system else ()
    messages = (*(at.messages or opening), Message(role="user", content=text))
    found = _open(connection, campaign_id, rater_id)
    turn = found["turn"] + 1 if found else 0
    values = {"messages": [m.model_dump(mode="json") for m in messages], "state": "waiting", "turn": turn, "asked_at": now}
    if found is None:
        new = insert(chat).values(campaign_id=campaign_id, rater_id=rater_id, created_at=now, **values)
        chat_id = connection.execute(new.returning(chat.c.id)).scalar_one()
    else:
        chat_id = found["id"]
        connection.execute(update(chat).where(chat.c.id == chat_id).values(**values))
    replies.ask(connection, rng.sample(live.policies, 2), messages, now=now, chat_id=chat_id, turn=turn)


def end(connection: Connection, campaign_id: int, rater_id: int) -> None:
    """Close the rater's conversation; the next message begins another. Raises ConflictError while answers are on their way."""
    found = _open(connection, campaign_id, rater_id)
    if found is None:
        return
    if found["state"] == "waiting":
        raise ConflictError("the answers are still being written; compare them, or wait until you may ask again")
    _close(connection, found)


def _answered(
    connection: Connection, found: RowMapping, live: LiveConfig, *, now: float, rng: random.Random
) -> Composing | Waiting | Comparing:
    mine = (reply.c.chat_id == found["id"], reply.c.turn == found["turn"])
    written = connection.execute(select(reply).where(*mine).order_by(reply.c.place)).mappings().all()
    messages = _messages(found)
    if any(one["state"] == "failed" for one in written) or (
        any(one["state"] != "done" for one in written) and now > found["asked_at"] + live.reply_minutes * MINUTE_S
    ):
        before = [message.model_dump(mode="json") for message in messages[:-1]]
        connection.execute(update(reply).where(*mine, reply.c.state != "done").values(state="failed"))
        connection.execute(update(chat).where(chat.c.id == found["id"]).values(state="composing", messages=before))
        return Composing(messages[:-1], messages[-1].content, FAILED)
    if any(one["state"] != "done" for one in written):
        return Waiting(messages)
    new = NewItem(
        external_id=f"chat-{found['id']}-{found['turn']}",
        prompt=Prompt.from_messages(messages),
        responses=tuple(one["text"] for one in written),
        policies=tuple(one["policy"] for one in written),
        source="live",
        group=f"chat-{found['id']}",
    )
    (item_id,) = campaigns.add_items(connection, found["campaign_id"], [new], now=now)
    lease = leases.lease_item(connection, item_id, found["rater_id"], now=now, rng=rng)
    connection.execute(update(chat).where(chat.c.id == found["id"]).values(state="comparing", lease_id=lease.lease_id))
    return Comparing(lease.lease_id)


def _compared(connection: Connection, found: RowMapping, live: LiveConfig) -> Composing | Comparing:
    """Held: still to be compared (or taken back). Answered: the better answer goes on; of two equally good ones, the left."""
    lease = leases.get(connection, found["lease_id"])
    if lease.state == "held":
        return Comparing(lease.lease_id)
    last = judgments.current(connection, lease)
    if lease.state != "answered" or last is None or found["turn"] + 1 >= live.max_turns:
        _close(connection, found)
        return Composing(())
    responses = connection.execute(select(item.c.responses).where(item.c.id == lease.item_id)).scalar_one()
    choice = next((answer["choice"] for answer in last["answers"] if answer["type"] == "pair"), "tie")
    better = {"first": 0, "second": 1, "tie": lease.screen_order[0]}[choice]
    return Composing((*_messages(found), Message(role="assistant", content=responses[better])))


def _live(connection: Connection, campaign_id: int) -> tuple[RowMapping, LiveConfig]:
    row = campaigns.get(connection, campaign_id)
    live = campaigns.config_of(row).live
    if live is None:
        raise ConflictError("this campaign is no live chat")
    if row["status"] != "open":
        raise ConflictError(f"the campaign is {row['status']}: no conversation goes on")
    return row, live


def _open(connection: Connection, campaign_id: int, rater_id: int) -> RowMapping | None:
    mine = (chat.c.campaign_id == campaign_id, chat.c.rater_id == rater_id, chat.c.state != "ended")
    return connection.execute(select(chat).where(*mine).order_by(chat.c.id.desc()).limit(1)).mappings().one_or_none()


def _close(connection: Connection, found: RowMapping) -> None:
    connection.execute(update(chat).where(chat.c.id == found["id"]).values(state="ended"))


def _messages(found: RowMapping) -> tuple[Message, ...]:
    return tuple(Message.model_validate(message) for message in found["messages"])
