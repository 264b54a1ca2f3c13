"""A person's data: all of it in one document for them, and the erasing of what says who they are.

Erasing leaves a tombstone: the account's pseudonym stays, with the judgments under it, because sets that were frozen and models
that were trained rest on them. What could lead from the pseudonym to a person goes: login, name, password, identity provider,
settings, platform id, sessions, tokens, unfinished drafts, messages and notes.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, RowMapping, delete, select, update

from truing.collect import audit, leases
from truing.collect.accounts.passwords import login_key
from truing.collect.errors import ConflictError, NotFoundError
from truing.collect.people.earnings import ledger
from truing.collect.people.ledger import money
from truing.collect.schema import (
    account,
    api_token,
    draft,
    guideline,
    guideline_read,
    judgment,
    lease,
    message,
    onboarding,
    payment,
    qualification,
    session,
    sign_in_attempt,
)

_OWN = ("login", "name", "pseudonym", "role", "settings", "created_at", "disabled_at")
_JUDGED = (
    "item_id",
    "revision",
    "kind",
    "answers",
    "flags",
    "clause",
    "skip_reason",
    "guideline_hash",
    "active_s",
    "judged_at",
)


def export_person(connection: Connection, account_id: int) -> dict[str, Any]:
    """Everything kept about a person, as JSON values: account, onboarding, qualifications, judgments, pay, messages, sessions.

    Passwords and tokens are not in it: they are kept only as hashes. Raises NotFoundError.
    """
    own = _account(connection, account_id)
    read = select(guideline.c.name, guideline.c.version, guideline_read.c.read_at).join(
        guideline_read, guideline_read.c.guideline_id == guideline.c.id
    )
    mail = select(message.c.text, message.c.created_at, message.c.read_at)
    earned = ledger(connection, account_id)
    return {
        "account": {name: own[name] for name in _OWN},
        "guidelines_confirmed": _rows(connection, read.where(guideline_read.c.account_id == account_id)),
        "onboarding": _rows(
            connection,
            select(onboarding.c.campaign_id, onboarding.c.step, onboarding.c.result, onboarding.c.started_at).where(
                onboarding.c.account_id == account_id
            ),
        ),
        "qualifications": _rows(
            connection,
            select(qualification.c.name, qualification.c.status, qualification.c.score, qualification.c.expires_at).where(
                qualification.c.account_id == account_id
            ),
        ),
        "judgments": _rows(connection, select(*(judgment.c[name] for name in _JUDGED)).where(judgment.c.rater_id == account_id)),
        "pay": {
            "days": [
                {"day": d.day.isoformat(), "campaign_id": d.campaign_id, "items": d.items, "paid_s": d.paid_s}
                | {"earned": money(d.micros, d.currency)}
                for d in earned.days
            ],
            "payments": [
                {"kind": p.kind, "amount": money(p.micros, p.currency), "note": p.note, "created_at": p.created_at}
                for p in earned.payments
            ],
        },
        "messages_received": _rows(connection, mail.where(message.c.recipient_id == account_id)),
        "messages_sent": _rows(connection, mail.where(message.c.sender_id == account_id)),
        "sessions": _rows(connection, select(session.c.created_at, session.c.seen_at).where(session.c.account_id == account_id)),
    }


def erase(connection: Connection, account_id: int, *, now: float, by: int | None) -> str:
    """Erase a person; returns the pseudonym that is left. What they hold goes back to the queue.

    Raises ConflictError where they were erased before, or are the last admin.
    """
    own = _account(connection, account_id)
    if own["erased_at"] is not None:
        raise ConflictError(f"{own['pseudonym']} has been erased already")
    if own["role"] == "admin" and not _other_admins(connection, account_id):
        raise ConflictError("this is the only admin: make another person admin first")
    leases.release_all(connection, account_id, now=now, by=by)
    held = select(lease.c.id).where(lease.c.rater_id == account_id)
    connection.execute(delete(draft).where(draft.c.lease_id.in_(held)))
    for table, column in ((session, session.c.account_id), (api_token, api_token.c.account_id)):
        connection.execute(delete(table).where(column == account_id))
    connection.execute(delete(message).where((message.c.recipient_id == account_id) | (message.c.sender_id == account_id)))
    connection.execute(update(payment).where(payment.c.account_id == account_id).values(note=""))
    connection.execute(delete(sign_in_attempt).where(sign_in_attempt.c.key == login_key(own["login"] or "")))
    gone: dict[str, Any] = {"login": None, "name": "", "password_hash": None, "oidc_subject": None, "settings": {}}
    connection.execute(update(account).where(account.c.id == account_id).values(**gone, disabled_at=now, erased_at=now))
    audit.record(connection, "account.erased", f"account:{account_id}", now=now, by=by)
    return str(own["pseudonym"])


def _account(connection: Connection, account_id: int) -> RowMapping:
    row = connection.execute(select(account).where(account.c.id == account_id)).mappings().one_or_none()
    if row is None:
        raise NotFoundError("there is no such person")
    return row


def _other_admins(connection: Connection, account_id: int) -> bool:
    others = (account.c.role == "admin", account.c.id != account_id, account.c.disabled_at.is_(None))
    return connection.scalar(select(account.c.id).where(*others).limit(1)) is not None


def _rows(connection: Connection, query: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(query).mappings()]
