"""Completion codes: what a crowd platform (Prolific, Mechanical Turk) asks for when a session is over.

A platform's own code is the same for everybody. Where it has none, each rater gets a code of their own, made from a secret and
what it stands for: nothing has to be stored, and a lead can check any code that was handed in.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from truing.collect.people.config import CompletionConfig
from truing.collect.schema import account, judgment, lease

_LENGTH = 10


@dataclass(frozen=True)
class Session:
    """How far a rater is in their session, and the code and the way back where it is over."""

    answered: int
    needed: int
    code: str = ""
    return_url: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether the code is earned."""
        return bool(self.code)


def session(config: CompletionConfig, answered: int, secret: bytes, campaign_id: int, pseudonym: str) -> Session:
    """The session of a rater who has given `answered` answers."""
    if answered < config.items:
        return Session(answered, config.items)
    code = config.code or own_code(secret, campaign_id, pseudonym)
    return Session(answered, config.items, code, config.return_url.replace("{code}", code))


def own_code(secret: bytes, campaign_id: int, pseudonym: str) -> str:
    """A rater's code: ten letters and digits that cannot be guessed without the secret."""
    digest = hmac.new(secret, f"completion/{campaign_id}/{pseudonym}".encode(), hashlib.sha256).digest()
    return base64.b32encode(digest).decode()[:_LENGTH]


def answered(connection: Connection, campaign_id: int, account_id: int) -> int:
    """Items that a rater has answered in a campaign, calibration and repeats too."""
    mine = (lease.c.rater_id == account_id, lease.c.campaign_id == campaign_id, lease.c.state == "answered")
    return connection.scalar(select(func.count()).select_from(lease).where(*mine)) or 0


def whose(connection: Connection, config: CompletionConfig, secret: bytes, campaign_id: int, code: str) -> str | None:
    """The pseudonym of the rater who earned `code` in a campaign; None where nobody did."""
    counted = (
        select(account.c.pseudonym, func.count().label("answers"))
        .join(judgment, judgment.c.rater_id == account.c.id)
        .where(judgment.c.campaign_id == campaign_id, judgment.c.is_current, judgment.c.kind == "answer")
        .group_by(account.c.pseudonym)
    )
    for row in connection.execute(counted):
        is_same = hmac.compare_digest(own_code(secret, campaign_id, row.pseudonym), code.strip().upper())
        if is_same and row.answers >= config.items:
            return str(row.pseudonym)
    return None
