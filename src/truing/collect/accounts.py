"""Who people are: invites, passwords, sessions, API tokens. Only hashes of secrets are stored."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Connection, RowMapping, delete, exists, func, insert, or_, select, update

from truing.collect import audit
from truing.collect.config import ServiceConfig
from truing.collect.errors import ConflictError, NotAllowedError, NotFoundError, NotSignedInError, ServiceError, TooManyAttemptsError
from truing.collect.schema import account, api_token, invite, session, sign_in_attempt

Role = Literal["rater", "lead", "admin"]
RANK: dict[str, int] = {"rater": 0, "lead": 1, "admin": 2}
Scope = Literal["read", "write", "admin"]
SCOPES: tuple[Scope, ...] = ("read", "write", "admin")
"""What an API token may do: read campaigns and judgments; make campaigns and items; manage people."""

SHORTEST_PASSWORD = 10
LONGEST_PASSWORD = 1000
TOUCH_S = 60.0
"""A session's last use is written down at most this often."""

_hasher = PasswordHasher()
_hashing = threading.BoundedSemaphore(2)
"""Argon2 takes 64 MiB a password on purpose: a rush of sign-ins waits here rather than filling the memory."""


@dataclass(frozen=True)
class Account:
    """Someone signed in. `pseudonym` is the only name that leaves the service."""

    account_id: int
    login: str
    name: str
    pseudonym: str
    role: Role

    def is_at_least(self, role: Role) -> bool:
        """Whether this role includes that one: admin > lead > rater."""
        return RANK[self.role] >= RANK[role]


def new_secret() -> str:
    """A secret to hand to somebody: 256 bits, fit for a URL."""
    return secrets.token_urlsafe(32)


def hashed(secret: str) -> str:
    """What is stored of a secret that was drawn by `new_secret`: sha256 (hex)."""
    return hashlib.sha256(secret.encode()).hexdigest()


def csrf_token(cookie: str) -> str:
    """What forms must send beside the cookie: another site can make a browser send the cookie, but cannot read this."""
    return hmac.new(cookie.encode(), b"truing csrf", hashlib.sha256).hexdigest()


def hash_password(password: str) -> str:
    """argon2id with its salt and parameters. Raises ServiceError where the password is too short or too long."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise ServiceError(f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters")
    with _hashing:
        return _hasher.hash(password)


def _matches(password_hash: str, password: str) -> bool:
    with _hashing:
        try:
            return _hasher.verify(password_hash, password[: LONGEST_PASSWORD + 1])
        except (VerificationError, InvalidHashError):
            return False


# Invites


def needs_first_admin(connection: Connection) -> bool:
    """Whether nobody can administer the service yet."""
    return not connection.scalar(select(exists().where(account.c.role == "admin", account.c.disabled_at.is_(None))))


def invite_someone(connection: Connection, role: Role, config: ServiceConfig, *, now: float, by: int | None = None) -> str:
    """A secret that makes one account of that role, once. It goes into a link and is never shown again."""
    secret = new_secret()
    expires_at = now + config.invite_days * 86_400
    row = {"token_hash": hashed(secret), "role": role, "created_by": by, "created_at": now, "expires_at": expires_at}
    connection.execute(insert(invite).values(**row))
    audit.record(connection, "invite.created", f"role:{role}", now=now, by=by)
    return secret


def first_admin_invite(connection: Connection, config: ServiceConfig, *, now: float) -> str | None:
    """The one-time link's secret where there is no administrator yet; an earlier one stops working. None otherwise."""
    if not needs_first_admin(connection):
        return None
    connection.execute(delete(invite).where(invite.c.role == "admin", invite.c.created_by.is_(None), invite.c.used_at.is_(None)))
    return invite_someone(connection, "admin", config, now=now)


def open_invite(connection: Connection, secret: str, *, now: float) -> RowMapping:
    """An invite that can still be used. Raises NotFoundError, the same for one that never was."""
    still_good = (invite.c.token_hash == hashed(secret), invite.c.used_at.is_(None), invite.c.expires_at > now)
    row = connection.execute(select(invite).where(*still_good)).mappings().one_or_none()
    if row is None:
        raise NotFoundError("this invitation was used already, has run out, or never was. Ask for a new one.")
    return row


def accept_invite(
    connection: Connection, secret: str, login: str, password_hash: str | None, *, now: float, name: str = "", oidc_subject: str = ""
) -> int:
    """Make the account that an invite is for. Raises NotFoundError, or ConflictError where the login is taken."""
    row = open_invite(connection, secret, now=now)
    account_id = create_account(
        connection, login, row["role"], now=now, name=name, password_hash=password_hash, oidc_subject=oidc_subject
    )
    used = update(invite).where(invite.c.id == row["id"], invite.c.used_at.is_(None))
    if connection.execute(used.values(used_at=now, account_id=account_id)).rowcount != 1:
        raise NotFoundError("this invitation was used already. Ask for a new one.")
    audit.record(connection, "invite.accepted", f"account:{account_id}", now=now, by=account_id)
    return account_id


# Accounts


def create_account(
    connection: Connection,
    login: str,
    role: Role,
    *,
    now: float,
    name: str = "",
    password_hash: str | None = None,
    oidc_subject: str = "",
    is_simulated: bool = False,
) -> int:
    """A new account under a fresh pseudonym. Raises ConflictError where the login is taken."""
    login = normal_login(login)
    if connection.scalar(select(account.c.id).where(account.c.login == login)) is not None:
        raise ConflictError("this name to sign in with is taken. Choose another.")
    row = insert(account).values(
        login=login,
        name=name.strip(),
        pseudonym=f"r-{secrets.token_hex(5)}",
        role=role,
        password_hash=password_hash,
        oidc_subject=oidc_subject or None,
        is_simulated=is_simulated,
        settings={},
        created_at=now,
    )
    return int(connection.execute(row).inserted_primary_key[0])


def normal_login(login: str) -> str:
    """A login as it is compared: trimmed, in lower case. Raises ServiceError where it is empty or too long."""
    normal = login.strip().casefold()
    if not 1 <= len(normal) <= 254 or any(not c.isprintable() for c in normal):
        raise ServiceError("a name to sign in with has 1 to 254 printable characters")
    return normal


def get(connection: Connection, account_id: int) -> Account:
    """An account that is neither disabled nor erased. Raises NotFoundError."""
    row = connection.execute(select(account).where(account.c.id == account_id, account.c.disabled_at.is_(None)))
    found = row.mappings().one_or_none()
    if found is None:
        raise NotFoundError("there is no such account")
    return _account(found)


def _account(row: RowMapping) -> Account:
    return Account(row["id"], row["login"] or "", row["name"], row["pseudonym"], row["role"])


# Signing in


def check_attempts(connection: Connection, keys: Collection[str], config: ServiceConfig, *, now: float) -> None:
    """Raises TooManyAttemptsError where one of `keys` (a login, an address) failed too often lately."""
    since = now - config.sign_in_window_minutes * 60
    for key in keys:
        recent = (sign_in_attempt.c.key == key, sign_in_attempt.c.at > since)
        failed = connection.scalar(select(func.count()).select_from(sign_in_attempt).where(*recent)) or 0
        if failed >= config.sign_in_attempts:
            raise TooManyAttemptsError(f"too many attempts. Wait {config.sign_in_window_minutes:g} minutes, then try again.")


def note_failure(connection: Connection, keys: Collection[str], *, now: float) -> None:
    """Count a failed sign-in against `keys`; what is older than a day is forgotten."""
    connection.execute(delete(sign_in_attempt).where(sign_in_attempt.c.at < now - 86_400))
    connection.execute(insert(sign_in_attempt), [{"key": key, "at": now} for key in keys])


def find_login(connection: Connection, login: str) -> RowMapping | None:
    """The row behind a login, where it may sign in."""
    may = (account.c.login == normal_login(login), account.c.disabled_at.is_(None))
    return connection.execute(select(account).where(*may)).mappings().one_or_none()


def is_password(row: RowMapping | None, password: str) -> bool:
    """Whether the password is this account's. Takes as long for an account that does not exist."""
    password_hash = row["password_hash"] if row is not None else None
    return _matches(password_hash or _nobody(), password) and password_hash is not None


_nobodys: list[str] = []


def _nobody() -> str:
    if not _nobodys:
        with _hashing:
            _nobodys.append(_hasher.hash(new_secret()))
    return _nobodys[0]


# Sessions


def start_session(connection: Connection, account_id: int, *, now: float) -> str:
    """Sign an account in. Returns the cookie's value."""
    secret = new_secret()
    connection.execute(insert(session).values(id_hash=hashed(secret), account_id=account_id, created_at=now, seen_at=now))
    audit.record(connection, "session.started", f"account:{account_id}", now=now, by=account_id)
    return secret


def end_session(connection: Connection, secret: str) -> None:
    """Sign this one browser out."""
    connection.execute(delete(session).where(session.c.id_hash == hashed(secret)))


def end_all_sessions(connection: Connection, account_id: int) -> None:
    """Sign an account out everywhere."""
    connection.execute(delete(session).where(session.c.account_id == account_id))


def session_account(connection: Connection, secret: str, config: ServiceConfig, *, now: float) -> tuple[Account, float]:
    """Whose session it is, and when it was last used. Raises NotSignedInError where it is unknown or has run out."""
    row = connection.execute(
        select(account, session.c.created_at.label("started_at"), session.c.seen_at)
        .join(session, session.c.account_id == account.c.id)
        .where(session.c.id_hash == hashed(secret), account.c.disabled_at.is_(None))
    ).mappings()
    found = row.one_or_none()
    if found is None:
        raise NotSignedInError("you are not signed in")
    is_idle = now > found["seen_at"] + config.session_idle_minutes * 60
    if is_idle or now > found["started_at"] + config.session_hours * 3600:
        raise NotSignedInError("your session has run out. Sign in again; what you were working on is still here.")
    return _account(found), float(found["seen_at"])


def touch_session(connection: Connection, secret: str, *, now: float) -> None:
    """The session is in use."""
    connection.execute(update(session).where(session.c.id_hash == hashed(secret)).values(seen_at=now))


# API tokens


def create_token(connection: Connection, owner: Account, name: str, scopes: Collection[str], *, now: float) -> str:
    """A secret for programs, shown once. Raises NotAllowedError for a scope that the owner does not have."""
    unknown = set(scopes) - set(SCOPES)
    if unknown or not scopes:
        raise ServiceError(f"scopes: choose among {', '.join(SCOPES)}")
    if not owner.is_at_least("lead") or ("admin" in scopes and owner.role != "admin"):
        raise NotAllowedError("a token cannot do what its owner may not")
    secret = new_secret()
    row = {"account_id": owner.account_id, "name": name, "token_hash": hashed(secret), "scopes": sorted(scopes), "created_at": now}
    token_id = connection.execute(insert(api_token).values(**row)).inserted_primary_key[0]
    audit.record(connection, "token.created", f"token:{token_id}", now=now, by=owner.account_id, detail={"scopes": sorted(scopes)})
    return secret


def token_account(connection: Connection, secret: str) -> tuple[Account, frozenset[str]]:
    """Whose token it is, and what it may do. Raises NotSignedInError where it is unknown or revoked."""
    row = connection.execute(
        select(account, api_token.c.scopes)
        .join(api_token, api_token.c.account_id == account.c.id)
        .where(api_token.c.token_hash == hashed(secret), api_token.c.revoked_at.is_(None), account.c.disabled_at.is_(None))
    ).mappings()
    found = row.one_or_none()
    if found is None:
        raise NotSignedInError("this token is unknown or was revoked")
    return _account(found), frozenset(found["scopes"])


def revoke_token(connection: Connection, token_id: int, owner: Account, *, now: float) -> None:
    """End a token, one's own or, for an administrator, anybody's. Raises NotFoundError."""
    mine = or_(api_token.c.account_id == owner.account_id, owner.role == "admin")  # type: ignore[arg-type]
    ended = update(api_token).where(api_token.c.id == token_id, api_token.c.revoked_at.is_(None), mine).values(revoked_at=now)
    if connection.execute(ended).rowcount != 1:
        raise NotFoundError("there is no such token")
    audit.record(connection, "token.revoked", f"token:{token_id}", now=now, by=owner.account_id)
