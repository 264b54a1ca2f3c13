"""Passwords: argon2id, and a limit on guessing."""

from __future__ import annotations

import functools
import secrets
import threading
from collections.abc import Collection

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Connection, delete, func, insert, select

from truing.collect.config import ServiceConfig
from truing.collect.errors import ServiceError, TooManyAttemptsError
from truing.collect.schema import sign_in_attempt
from truing.collect.words import DAY_S

SHORTEST = 10
LONGEST = 1000

_hasher = PasswordHasher()
_hashing = threading.BoundedSemaphore(2)
"""Argon2 takes 64 MiB a password on purpose: a rush of sign-ins waits here rather than filling the memory."""


def hash_password(password: str) -> str:
    """argon2id with its salt and parameters. Raises ServiceError where the password is too short or too long."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise ServiceError(f"a password has {SHORTEST} to {LONGEST} characters")
    with _hashing:
        return _hasher.hash(password)


def is_password(password_hash: str | None, password: str) -> bool:
    """Whether the hash is this password's. None = no such account; it takes as long, so that nobody learns which exist."""
    with _hashing:
        try:
            matches = _hasher.verify(password_hash or _nobodys(), password[: LONGEST + 1])
        except (VerificationError, InvalidHashError):
            return False
    return matches and password_hash is not None


@functools.cache
def _nobodys() -> str:
    return _hasher.hash(secrets.token_urlsafe(32))


def _check_attempts(connection: Connection, login: str, address: str, config: ServiceConfig, *, now: float) -> None:
    allowed = {login_key(login): config.sign_in_attempts, address_key(address): config.sign_in_attempts_an_address}
    window_s = config.sign_in_window_minutes * 60
    for key, most in allowed.items():
        recent = (sign_in_attempt.c.key == key, sign_in_attempt.c.at.between(now - window_s, now + window_s))
        failed = connection.scalar(select(func.count()).select_from(sign_in_attempt).where(*recent)) or 0
        if failed >= most:
            raise TooManyAttemptsError(f"too many attempts. Wait {config.sign_in_window_minutes:g} minutes, then try again.")


def begin_attempt(connection: Connection, login: str, address: str, config: ServiceConfig, *, now: float) -> list[int]:
    """Count an attempt before it is made; returns the ids to withdraw should it succeed. What is older than a day is forgotten.

    Raises TooManyAttemptsError. In one transaction, so that guesses sent side by side are no more than are allowed.
    """
    _check_attempts(connection, login, address, config, now=now)
    connection.execute(delete(sign_in_attempt).where(sign_in_attempt.c.at < now - DAY_S))
    rows = [{"key": key, "at": now} for key in (login_key(login), address_key(address))]
    return list(connection.execute(insert(sign_in_attempt).returning(sign_in_attempt.c.id), rows).scalars())


def login_key(login: str) -> str:
    """What attempts on a login are counted under."""
    return f"login:{login}"


def address_key(address: str) -> str:
    """What attempts from an address are counted under."""
    return f"address:{address}"


def withdraw_attempt(connection: Connection, ids: Collection[int]) -> None:
    """It succeeded, so it does not count: forty raters behind one address may sign in."""
    connection.execute(delete(sign_in_attempt).where(sign_in_attempt.c.id.in_(ids)))
