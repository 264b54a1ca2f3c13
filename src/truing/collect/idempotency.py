"""A request that is sent twice is done once: the reply is kept under the sender's key, in the transaction that did the work."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from sqlalchemy import Connection, delete, insert, select

from truing.collect.errors import ConflictError
from truing.collect.schema import api_reply
from truing.records import Record

KEPT_S = 24 * 3600.0
LONGEST_KEY = 100


def fingerprint(method: str, path: str, body: bytes) -> str:
    """What tells two requests apart."""
    return hashlib.sha256(f"{method} {path}\n".encode() + body).hexdigest()


def once(
    connection: Connection, account_id: int, key: str | None, request: str, work: Callable[[Connection], Record], *, now: float
) -> str:
    """The reply (JSON) of `work`, done now, or kept from when the same request was done under this key. None = no key.

    Raises ConflictError where the key was used for another request.
    """
    if not key:
        return work(connection).to_json()
    same = (api_reply.c.account_id == account_id, api_reply.c.idempotency_key == key)
    known = connection.execute(select(api_reply.c.request_hash, api_reply.c.reply).where(*same)).one_or_none()
    if known is not None:
        if known.request_hash != request:
            raise ConflictError("this Idempotency-Key was used for another request; draw a new key for each")
        return str(known.reply)
    reply = work(connection).to_json()
    connection.execute(delete(api_reply).where(api_reply.c.created_at < now - KEPT_S))
    values = {"account_id": account_id, "idempotency_key": key, "request_hash": request, "reply": reply, "created_at": now}
    connection.execute(insert(api_reply).values(**values))
    return reply
