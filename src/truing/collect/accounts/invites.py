"""Invitations: a link that makes one account of a role, once."""

from __future__ import annotations

from sqlalchemy import Connection, RowMapping, delete, insert, select, update

from truing.collect import audit
from truing.collect.accounts import roles
from truing.collect.accounts.roles import Role
from truing.collect.accounts.secret import hashed, new_secret
from truing.collect.config import ServiceConfig
from truing.collect.errors import NotFoundError
from truing.collect.schema import invite
from truing.collect.words import DAY_S


def create(connection: Connection, role: Role, config: ServiceConfig, *, now: float, by: int | None = None) -> str:
    """A secret that makes one account. It goes into a link and is never shown again."""
    secret = new_secret()
    expires_at = now + config.invite_days * DAY_S
    row = {"token_hash": hashed(secret), "role": role, "created_by": by, "created_at": now, "expires_at": expires_at}
    connection.execute(insert(invite).values(**row))
    audit.record(connection, "invite.created", f"role:{role}", now=now, by=by)
    return secret


def for_first_admin(connection: Connection, config: ServiceConfig, *, now: float) -> str | None:
    """The secret of the one-time link, where there is no administrator yet; an earlier one stops working. None otherwise."""
    if not roles.needs_first_admin(connection):
        return None
    unused = (invite.c.role == "admin", invite.c.created_by.is_(None), invite.c.used_at.is_(None))
    connection.execute(delete(invite).where(*unused))
    return create(connection, "admin", config, now=now)


def find(connection: Connection, secret: str, *, now: float) -> RowMapping:
    """An invite that can still be used. Raises NotFoundError, the same for one that never was."""
    still_good = (invite.c.token_hash == hashed(secret), invite.c.used_at.is_(None), invite.c.expires_at > now)
    row = connection.execute(select(invite).where(*still_good)).mappings().one_or_none()
    if row is None:
        raise NotFoundError("this invitation was used already, has run out, or never was. Ask for a new one.")
    return row


def accept(
    connection: Connection,
    secret: str,
    login: str,
    *,
    now: float,
    name: str = "",
    password_hash: str | None = None,
    oidc_subject: str | None = None,
) -> int:
    """Make the account that an invite is for. Raises NotFoundError, or ConflictError where the login is taken."""
    row = find(connection, secret, now=now)
    used = update(invite).where(invite.c.id == row["id"], invite.c.used_at.is_(None)).values(used_at=now)
    if connection.execute(used).rowcount != 1:
        raise NotFoundError("this invitation was used already. Ask for a new one.")
    account_id = roles.create(
        connection, login, row["role"], now=now, name=name, password_hash=password_hash, oidc_subject=oidc_subject
    )
    connection.execute(update(invite).where(invite.c.id == row["id"]).values(account_id=account_id))
    audit.record(connection, "invite.accepted", f"account:{account_id}", now=now, by=account_id)
    return account_id
