"""Secrets that are handed out, of which only the hash is kept."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path


def new_secret() -> str:
    """A secret to hand to somebody: 256 bits, fit for a URL."""
    return secrets.token_urlsafe(32)


def hashed(secret: str) -> str:
    """What is stored of a secret that `new_secret` drew: sha256 (hex)."""
    return hashlib.sha256(secret.encode()).hexdigest()


def csrf_token(cookie: str) -> str:
    """What a form sends beside the cookie: another site can make a browser send the cookie, but cannot read or make this."""
    return hmac.new(cookie.encode(), b"truing csrf", hashlib.sha256).hexdigest()


def service_key(path: Path) -> bytes:
    """The service's own key, made on first use and readable by its user only. It is kept beside the database, not in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return bytes.fromhex(path.read_text(encoding="ascii").strip())
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(32))
        file.flush()
        os.fsync(file.fileno())
    return bytes.fromhex(path.read_text(encoding="ascii").strip())
