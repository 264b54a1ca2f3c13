"""The addresses of a live chat: what a rater sends, and what workers take and bring."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import StringConstraints
from sqlalchemy import Connection

from truing.collect import sampled
from truing.collect.chat import conversations, replies
from truing.collect.chat.conversations import MOST_CHARACTERS, Composing, Waiting
from truing.collect.chat.replies import HeldReplies, ReplyRequests, ReplyState, WantedReplies, WrittenReply
from truing.collect.rendering.markdown import render
from truing.collect.screen.view import SPEAKERS, Turn
from truing.collect.sent import Sent
from truing.collect.web import Serving, Visit, Visitor, authorize

router = APIRouter(include_in_schema=False)
api = APIRouter(prefix="/api/v1/replies", tags=["chat"])

Said = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MOST_CHARACTERS)]


class NewMessage(Sent):
    """What a rater says next."""

    text: Said


@router.post("/rate/{campaign_id}/chat", status_code=204)
def say(visit: Visitor, campaign_id: int, sent: NewMessage) -> None:
    """The rater's next message."""

    def work(connection: Connection) -> None:
        conversations.say(connection, campaign_id, visit.account["id"], sent.text, now=visit.now, rng=visit.rng)

    visit.database.write(work)


@router.post("/rate/{campaign_id}/chat/end", status_code=204)
def end(visit: Visitor, campaign_id: int) -> None:
    """The rater wants another conversation."""
    visit.database.write(lambda c: conversations.end(c, campaign_id, visit.account["id"]))


@api.post("/take")
def take(request: Request, service: Serving, wanted: WantedReplies) -> ReplyRequests:
    """Requests for a worker to answer."""
    authorize(request, "replies")
    now = service.clock()
    taken = service.database.write(lambda c: replies.take(c, wanted.policies, wanted.limit, now=now))
    return ReplyRequests(requests=taken)


@api.post("/renew", status_code=204)
def renew(request: Request, service: Serving, held: HeldReplies) -> None:
    """A worker is still at work on what it took."""
    authorize(request, "replies")
    now = service.clock()
    service.database.write(lambda c: replies.renew(c, held.reply_ids, now=now))


@api.post("/{reply_id}")
def finish(request: Request, service: Serving, reply_id: int, written: WrittenReply) -> ReplyState:
    """A worker's answer."""
    authorize(request, "replies")

    def work(connection: Connection) -> ReplyState:
        state = replies.finish(connection, reply_id, written)
        sampled.complete(connection, reply_id)
        return state

    return service.database.write(work)


def part(visit: Visit, at: Composing | Waiting) -> str:
    """The conversation so far, with a field to write in or the word that answers are on their way."""
    turns = tuple(Turn(SPEAKERS[m.role], m.role == "user", render(m.content)) for m in at.messages)
    return visit.render("screen/chat.html", turns=turns, at=at, is_waiting=isinstance(at, Waiting))
