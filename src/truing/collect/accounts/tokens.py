"""API tokens: secrets for programs, each with what it may do."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal, get_args

from sqlalchemy import Connection, RowMapping, insert, select, update

from truing.collect import audit
from truing.collect.accounts import roles
from truing.collect.accounts.secret import hashed, new_secret
from truing.collect.errors import NotAllowedError, NotFoundError, NotSignedInError, ServiceError
from truing.collect.schema import account, api_token

Scope = Literal["read", "campaigns", "export", "webhooks", "people", "replies"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
MEANINGS: Mapping[Scope, str] = {
    "read": "see campaigns, their items and judgments",
    "campaigns": "make and change campaigns, add items, publish guidelines",
    "export": "freeze and fetch sets",
    "webhooks": "have events posted to an address",
    "people": "invite people, make and revoke tokens",
    "replies": "answer for policies, as a worker does",
}
"""What each scope lets a program do."""
ADMIN_ONLY = frozenset({"people"})
LONGEST_NAME = 200


def create(connection: Connection, owner: RowMapping, name: str, scopes: Collection[str], *, now: float) -> tuple[int, str]:
    """The token's id and its secret, shown once.

    Raises ServiceError for an unknown scope, none, or a name that is empty or too long; NotAllowedError beyond the owner's role.
    """
    name = name.strip()
    if not 1 <= len(name) <= LONGEST_NAME:
        raise ServiceError(f"name: 1 to {LONGEST_NAME} characters that say which program the token is for")
    if not scopes or set(scopes) - set(SCOPES):
        raise ServiceError(f"scopes: choose among {', '.join(SCOPES)}")
    if not may(owner["role"], scopes):
        raise NotAllowedError("a token cannot do what its owner may not")
    secret, kept = new_secret(), sorted(set(scopes))
    row = {"account_id": owner["id"], "name": name, "token_hash": hashed(secret), "scopes": kept, "created_at": now}
    token_id = connection.execute(insert(api_token).values(**row).returning(api_token.c.id)).scalar_one()
    audit.record(connection, "token.created", f"token:{token_id}", now=now, by=owner["id"], detail={"scopes": list(kept)})
    return int(token_id), secret


def may(role: str, scopes: Collection[str]) -> bool:
    """Whether somebody of that role may do all this."""
    return roles.includes(role, "admin" if ADMIN_ONLY & set(scopes) else "lead")


def find(connection: Connection, secret: str, scope: Scope) -> RowMapping:
    """The account behind a token. Raises NotSignedInError where it is unknown or revoked, NotAllowedError without the scope.

    A token never does more than its owner may now: one made by somebody who is a rater since is refused.
    """
    query = select(account, api_token.c.scopes).join(api_token, api_token.c.account_id == account.c.id)
    good = (api_token.c.token_hash == hashed(secret), api_token.c.revoked_at.is_(None), account.c.disabled_at.is_(None))
    row = connection.execute(query.where(*good, account.c.erased_at.is_(None))).mappings().one_or_none()
    if row is None:
        raise NotSignedInError("this token is unknown or was revoked")
    if scope not in row["scopes"] or not may(row["role"], (scope,)):
        raise NotAllowedError(f"this token lacks the scope '{scope}'; it has {', '.join(row['scopes'])}")
    return row


def listed(connection: Connection, owner_id: int) -> list[RowMapping]:
    """Somebody's tokens in use, without their secrets."""
    mine = (api_token.c.account_id == owner_id, api_token.c.revoked_at.is_(None))
    return list(connection.execute(select(api_token).where(*mine).order_by(api_token.c.id)).mappings())


def in_use(connection: Connection) -> list[RowMapping]:
    """Everybody's tokens in use, the newest first, without their secrets; `pseudonym` and `disabled_at` are their owner's."""
    columns = (*(api_token.c[name] for name in ("id", "name", "scopes", "created_at", "account_id")), account.c.pseudonym)
    query = select(*columns, account.c.disabled_at).join(account, account.c.id == api_token.c.account_id)
    return list(connection.execute(query.where(api_token.c.revoked_at.is_(None)).order_by(api_token.c.id.desc())).mappings())


def revoke(connection: Connection, token_id: int, owner: RowMapping, *, now: float) -> None:
    """End a token, one's own or, for an administrator, anybody's. Raises NotFoundError."""
    ended = update(api_token).where(api_token.c.id == token_id, api_token.c.revoked_at.is_(None)).values(revoked_at=now)
    if owner["role"] != "admin":
        ended = ended.where(api_token.c.account_id == owner["id"])
    if connection.execute(ended).rowcount != 1:
        raise NotFoundError("there is no such token")
    audit.record(connection, "token.revoked", f"token:{token_id}", now=now, by=owner["id"])
