"""Sessions on the server: the browser holds a secret, the database its hash, and either side can end it."""

from __future__ import annotations

from sqlalchemy import Connection, RowMapping, bindparam, delete, insert, or_, select, update

from truing.collect import audit
from truing.collect.accounts.secret import hashed, new_secret
from truing.collect.config import ServiceConfig
from truing.collect.errors import NotSignedInError
from truing.collect.schema import account, session
from truing.collect.words import HOUR_S, MINUTE_S

TOUCH_S = 60.0
"""A session's last use is written down at most this often."""


def start(connection: Connection, account_id: int, config: ServiceConfig, *, now: float) -> str:
    """Sign an account in, and forget every session that has run out. Returns the cookie's value."""
    is_idle = session.c.seen_at < now - config.session_idle_minutes * MINUTE_S
    connection.execute(delete(session).where(or_(is_idle, session.c.created_at < now - config.session_hours * HOUR_S)))
    secret = new_secret()
    connection.execute(insert(session).values(id_hash=hashed(secret), account_id=account_id, created_at=now, seen_at=now))
    audit.record(connection, "session.started", f"account:{account_id}", now=now, by=account_id)
    return secret


def end(connection: Connection, secret: str) -> None:
    """Sign this one browser out."""
    connection.execute(delete(session).where(session.c.id_hash == hashed(secret)))


_FIND = (
    select(account, session.c.created_at.label("started_at"), session.c.seen_at)
    .join(session, session.c.account_id == account.c.id)
    .where(session.c.id_hash == bindparam("of_session"), account.c.disabled_at.is_(None), account.c.erased_at.is_(None))
)


def find(connection: Connection, secret: str, config: ServiceConfig, *, now: float) -> tuple[RowMapping, float]:
    """The account of a session, and when it was last used. Raises NotSignedInError where it is unknown or has run out."""
    row = connection.execute(_FIND, {"of_session": hashed(secret)}).mappings().one_or_none()
    if row is None:
        raise NotSignedInError("you are not signed in")
    is_idle = now > row["seen_at"] + config.session_idle_minutes * MINUTE_S
    if is_idle or now > row["started_at"] + config.session_hours * HOUR_S:
        raise NotSignedInError("your session has run out. Sign in again; what you were working on is still here.")
    return row, float(row["seen_at"])


def touch(connection: Connection, secret: str, *, now: float) -> None:
    """The session is in use."""
    connection.execute(update(session).where(session.c.id_hash == hashed(secret)).values(seen_at=now))
