"""Signatures on what the service posts to others, and how the receiver checks them.

    Truing-Signature: t=1732500000,v1=HEX          HEX = HMAC-SHA256(secret, "1732500000." + body)

The time is signed with the body, so that an old delivery sent again by a third party is refused; `Truing-Delivery` is the same in
every attempt at one delivery, so that the receiver can take it once.

    from truing.collect.webhooks.signing import verify

    verify(secret, request.headers["Truing-Signature"], body, now=time.time())
"""

from __future__ import annotations

import hashlib
import hmac

from truing.errors import TruingError

HEADER = "Truing-Signature"
DELIVERY_HEADER = "Truing-Delivery"
TOLERANCE_S = 300.0
"""How far the signed time may lie from the receiver's clock."""


class SignatureError(TruingError):
    """What came is not what the service signed, or was signed too long ago."""


def sign(secret: str, body: bytes, *, now: float) -> str:
    """The header's value."""
    at = int(now)
    return f"t={at},v1={_digest(secret, at, body)}"


def verify(secret: str, header: str, body: bytes, *, now: float, tolerance_s: float = TOLERANCE_S) -> None:
    """Raise SignatureError unless `header` is a signature of `body` under `secret`, made within `tolerance_s` of `now`."""
    parts = dict(part.strip().partition("=")[::2] for part in header.split(","))
    stamp = parts.get("t", "")
    if not (stamp.isascii() and stamp.isdecimal() and len(stamp) <= 12):
        raise SignatureError(f"{HEADER} is not of the form t=TIME,v1=HEX")
    if not hmac.compare_digest(_digest(secret, int(stamp), body).encode(), parts.get("v1", "").encode()):
        raise SignatureError("the signature does not fit: another secret, or the body was changed on its way")
    if abs(now - int(stamp)) > tolerance_s:
        raise SignatureError(
            f"signed more than {tolerance_s:g} s away from this clock: sent again by somebody, or a clock is wrong"
        )


def derived_secret(service_key: bytes, salt: str) -> str:
    """The secret of one webhook: of the service's key and the webhook's salt, so that the database alone signs nothing."""
    return hmac.new(service_key, f"webhook:{salt}".encode(), hashlib.sha256).hexdigest()


def _digest(secret: str, at: int, body: bytes) -> str:
    return hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
