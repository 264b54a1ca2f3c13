"""Who somebody is, and what their role includes."""

from __future__ import annotations

import secrets
from typing import Literal

from sqlalchemy import Connection, RowMapping, exists, insert, select, update

from truing.collect import audit
from truing.collect.errors import ConflictError, NotFoundError, ServiceError
from truing.collect.schema import account, session

Role = Literal["rater", "lead", "admin"]
ROLES: tuple[Role, ...] = ("rater", "lead", "admin")
"""Each may do what those before it may."""


def includes(role: str, wanted: Role) -> bool:
    """Whether a role may do what another may."""
    return role in ROLES[ROLES.index(wanted) :]


def needs_first_admin(connection: Connection) -> bool:
    """Whether nobody can administer the service yet."""
    return not connection.scalar(select(exists().where(account.c.role == "admin", account.c.disabled_at.is_(None))))


def create(
    connection: Connection,
    login: str,
    role: Role,
    *,
    now: float,
    name: str = "",
    password_hash: str | None = None,
    oidc_subject: str | None = None,
    is_simulated: bool = False,
) -> int:
    """A new account under a fresh pseudonym, the only name that leaves. Raises ConflictError where the login is taken."""
    login = normal_login(login)
    if connection.scalar(select(account.c.id).where(account.c.login == login)) is not None:
        raise ConflictError("this name to sign in with is taken. Choose another.")
    row = insert(account).values(
        login=login,
        name=name.strip(),
        pseudonym=f"r-{secrets.token_hex(5)}",
        role=role,
        password_hash=password_hash,
        oidc_subject=oidc_subject,
        is_simulated=is_simulated,
        settings={},
        created_at=now,
    )
    return int(connection.execute(row.returning(account.c.id)).scalar_one())


def normal_login(login: str) -> str:
    """A login as it is compared: trimmed, in lower case. Raises ServiceError where it is empty, too long or not printable."""
    normal = login.strip().casefold()
    if not 1 <= len(normal) <= 254 or not normal.isprintable():
        raise ServiceError("a name to sign in with has 1 to 254 printable characters")
    return normal


def by_login(connection: Connection, login: str) -> RowMapping | None:
    """The row behind a login that may sign in."""
    may = (account.c.login == login, account.c.disabled_at.is_(None), account.c.erased_at.is_(None))
    return connection.execute(select(account).where(*may)).mappings().one_or_none()


def by_subject(connection: Connection, oidc_subject: str) -> RowMapping | None:
    """The row of somebody whom an identity provider vouches for."""
    may = (account.c.oidc_subject == oidc_subject, account.c.disabled_at.is_(None), account.c.erased_at.is_(None))
    return connection.execute(select(account).where(*may)).mappings().one_or_none()


def set_role(connection: Connection, account_id: int, role: Role, *, now: float, by: int) -> None:
    """Change what somebody may do. Raises NotFoundError; ConflictError where the last administrator would be gone."""
    before = connection.scalar(select(account.c.role).where(account.c.id == account_id, account.c.disabled_at.is_(None)))
    if before is None:
        raise NotFoundError("there is no such account")
    connection.execute(update(account).where(account.c.id == account_id).values(role=role))
    _check_administered(connection)
    audit.record(connection, "account.role", f"account:{account_id}", now=now, by=by, detail={"from": before, "to": role})


def disable(connection: Connection, account_id: int, *, now: float, by: int) -> None:
    """Keep somebody out, at once and everywhere. Raises NotFoundError; ConflictError where the last administrator would go."""
    _set_disabled(connection, account_id, now)
    connection.execute(session.delete().where(session.c.account_id == account_id))
    _check_administered(connection)
    audit.record(connection, "account.disabled", f"account:{account_id}", now=now, by=by)


def enable(connection: Connection, account_id: int, *, now: float, by: int) -> None:
    """Let somebody in again. Raises NotFoundError where there is nobody, or who was there has been erased."""
    _set_disabled(connection, account_id, None)
    audit.record(connection, "account.enabled", f"account:{account_id}", now=now, by=by)


def _set_disabled(connection: Connection, account_id: int, at: float | None) -> None:
    there = (account.c.id == account_id, account.c.erased_at.is_(None))
    if not connection.execute(update(account).where(*there).values(disabled_at=at)).rowcount:
        raise NotFoundError("there is no such account")


def _check_administered(connection: Connection) -> None:
    if needs_first_admin(connection):
        raise ConflictError("this is the last administrator. Make somebody else one first.")
