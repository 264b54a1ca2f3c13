"""Taking answers: append-only revisions, one acknowledgement a submission however often it is sent, nothing ever dropped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self

from pydantic import Field, JsonValue, model_validator
from sqlalchemy import Connection, Insert, RowMapping, bindparam, delete, exists, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from truing.collect import campaigns, leases
from truing.collect.answers import Answer, CritiqueAnswer, PairAnswer, RankingAnswer, RewriteAnswer, ScalesAnswer, stored
from truing.collect.config import CampaignConfig, CritiqueTask, PairTask, RankingTask, RewriteTask, ScalesTask, Task
from truing.collect.errors import ConflictError, FrozenError, NotFoundError, ServiceError
from truing.collect.leases import Lease
from truing.collect.schema import draft, export_member, guideline, judgment, lease
from truing.collect.sent import Sent
from truing.collect.words import MINUTE_S
from truing.records import Record


class Submission(Sent):
    """What a rater's browser sends for one lease: answers by place on the screen, or a reason to skip."""

    lease_id: str = Field(max_length=40)
    idempotency_key: str = Field(min_length=8, max_length=100)
    """Drawn by the browser once for what it sends; sent again, it gets the same acknowledgement."""
    answers: tuple[Answer, ...] = Field(default=(), max_length=5)
    skip_reason: str = Field(default="", max_length=2000)
    flags: tuple[str, ...] = Field(default=(), max_length=20)
    clause: str = Field(default="", max_length=100)
    guideline_hash: str = Field(default="", max_length=64)
    """The guideline that the screen showed; empty = the campaign's present one."""
    active_s: float | None = Field(default=None, ge=0.0, le=86_400.0)

    @model_validator(mode="after")
    def _answers_or_skips(self) -> Self:
        if bool(self.answers) == bool(self.skip_reason):
            raise ValueError("send either answers or a reason to skip")
        return self


class Acknowledgement(Record):
    """The judgment is on disk. `is_surplus`: it was kept, though no more were needed."""

    judgment_id: int
    lease_id: str
    revision: int
    kind: Literal["answer", "skip", "withdrawn"]
    is_surplus: bool
    undo_until: float


_CLOSE = update(lease).where(lease.c.id == bindparam("of_lease")).values(state=bindparam("new_state"))
_DROP_DRAFT = delete(draft).where(draft.c.lease_id == bindparam("of_lease"))


def submit(connection: Connection, rater_id: int, sent: Submission, *, now: float) -> Acknowledgement:
    """Keep a rater's answer or skip.

    Raises ConflictError where this lease was answered already under another key (an old tab), NotFoundError where the lease is
    not the rater's, ServiceError where the answers do not fit the campaign.
    """
    # Locked before the key is looked for: of two that come to two processes at once, the second finds what the first wrote.
    found, row = leases.with_campaign(connection, sent.lease_id, rater_id, lock=True)
    again = _by_key(connection, rater_id, sent.idempotency_key)
    if again is not None:
        return _acknowledgement(connection, again)
    if found.state in {"answered", "skipped"}:
        raise ConflictError("you have answered this item already, in another tab or before. Take it back first to change it.")
    config = campaigns.config_of(row)
    _check_flags(sent.flags, config)
    is_answer = bool(sent.answers)
    if is_answer:
        check_answers(sent.answers, config.tasks, len(found.screen_order))
    is_surplus = _settle_slot(connection, found, is_answer=is_answer)
    connection.execute(_CLOSE, {"of_lease": found.lease_id, "new_state": "answered" if is_answer else "skipped"})
    connection.execute(_DROP_DRAFT, {"of_lease": found.lease_id})
    values = {
        "kind": "answer" if is_answer else "skip",
        "answers": [answer.model_dump(mode="json") for answer in stored(sent.answers, found.screen_order)],
        "flags": list(sent.flags),
        "clause": sent.clause,
        "skip_reason": sent.skip_reason,
        "guideline_hash": sent.guideline_hash or _guideline_hash(connection, row),
        "active_s": sent.active_s,
        "is_surplus": is_surplus,
        "idempotency_key": sent.idempotency_key,
    }
    return _append(connection, found, values, config, now)


def undo(connection: Connection, rater_id: int, lease_id: str, idempotency_key: str, *, now: float) -> Acknowledgement:
    """Take the answer of a lease back within the grace: a new revision says so, and the item is in the rater's hands again.

    Raises FrozenError where it was exported, ConflictError where it is too late or there is nothing to take back.
    """
    found, row = leases.with_campaign(connection, lease_id, rater_id, lock=True)
    again = _by_key(connection, rater_id, idempotency_key)
    if again is not None:
        return _acknowledgement(connection, again)
    # Locked before it is looked whether it was exported: an export that another process is freezing has locked it too.
    present = current(connection, found, lock=True)
    if present is None or present["kind"] == "withdrawn":
        raise ConflictError("there is no answer here to take back")
    config = campaigns.config_of(row)
    if connection.scalar(select(exists().where(export_member.c.judgment_id == present["id"]))):
        raise FrozenError("this answer is part of an exported set, so it stays as it is. Tell a lead what is wrong with it.")
    if now > present["judged_at"] + config.undo_grace_minutes * MINUTE_S:
        raise ConflictError(f"an answer can be taken back for {config.undo_grace_minutes:g} minutes; this one is older")
    if found.purpose == "task":
        leases.claim_slot(connection, found, "leased")
    ends = {"state": "held", "leased_at": now, "expires_at": now + config.lease_minutes * MINUTE_S}
    connection.execute(update(lease).where(lease.c.id == lease_id).values(**ends))
    kept = {key: present[key] for key in ("answers", "flags", "clause", "guideline_hash", "active_s", "is_surplus")}
    values = {**kept, "kind": "withdrawn", "skip_reason": "", "idempotency_key": idempotency_key}
    return _append(connection, found, values, config, now)


_CURRENT = select(judgment).where(judgment.c.lease_id == bindparam("of_lease"), judgment.c.is_current)


def current(connection: Connection, found: Lease, *, lock: bool = False) -> RowMapping | None:
    """The latest revision of what was answered under a lease. `lock` as in `leases.with_campaign`."""
    query = _CURRENT.with_for_update() if lock else _CURRENT
    return connection.execute(query, {"of_lease": found.lease_id}).mappings().one_or_none()


def _saved(into: sqlite.Insert | postgresql.Insert) -> Insert:
    sent = {"content": into.excluded.content, "saved_at": into.excluded.saved_at}
    return into.on_conflict_do_update(index_elements=["lease_id"], set_=sent)


_SAVE = {"sqlite": _saved(sqlite.insert(draft)), "postgresql": _saved(postgresql.insert(draft))}


def save_draft(connection: Connection, rater_id: int, lease_id: str, content: dict[str, JsonValue], *, now: float) -> None:
    """Keep unfinished work, whatever the screen's form of it. The lease runs anew: somebody is at work."""
    leases.renew(connection, lease_id, rater_id, now=now)
    connection.execute(_SAVE[connection.dialect.name], {"lease_id": lease_id, "content": content, "saved_at": now})


def check_answers(answers: Sequence[Answer], tasks: Sequence[Task], responses: int) -> None:
    """Raises ServiceError where answers are not what the tasks ask of so many responses."""
    by_type = {answer.type: answer for answer in answers}
    if len(by_type) != len(answers):
        raise ServiceError("answers: one of each type at most")
    unasked = by_type.keys() - {task.type for task in tasks}
    if unasked:
        raise ServiceError(f"answers: this campaign does not ask for {', '.join(sorted(unasked))}")
    for task in tasks:
        answer = by_type.get(task.type)
        if answer is not None:
            _check_answer(task, answer, responses)
        elif getattr(task, "is_required", True):
            raise ServiceError(f"answers: '{task.type}' is missing")


def _check_answer(task: Task, answer: Answer, responses: int) -> None:
    match task, answer:
        case PairTask(), PairAnswer():
            _check_pair(task, answer)
        case RankingTask(), RankingAnswer():
            _check(len(answer.ranks) == responses, f"ranking: give a rank to each of the {responses} responses")
            _check(task.ties or len(set(answer.ranks)) == responses, "ranking: no two responses may share a rank here")
        case ScalesTask(), ScalesAnswer():
            _check_scales(task, answer, responses)
        case CritiqueTask(), CritiqueAnswer():
            wanted = responses if task.each_response else 0
            _check(len(answer.of_responses) in {0, wanted}, f"critique: {wanted} responses are asked about")
            words = answer.text.strip() or any(text.strip() for text in answer.of_responses)
            _check(bool(words) or not task.is_required, "critique: write some words")
        case RewriteTask(), RewriteAnswer():
            _check(answer.of < responses, f"rewrite: there are {responses} responses")
            _check(bool(answer.text.strip()), "rewrite: write some words")


def _check_pair(task: PairTask, answer: PairAnswer) -> None:
    _check(answer.margin <= task.steps_each_side, f"pair: the margin has {task.steps_each_side} steps")
    is_plain_tie = answer.choice == "tie" and not answer.both_bad
    _check(task.tie or not is_plain_tie, "pair: this campaign has no ties")
    _check(task.both_bad or not answer.both_bad, "pair: this campaign has no 'both bad'")


def _check_scales(task: ScalesTask, answer: ScalesAnswer, responses: int) -> None:
    _check(len(answer.scores) == responses, f"scales: score each of the {responses} responses")
    for scores in answer.scores:
        _check(scores.keys() == {a.name for a in task.attributes}, "scales: score each attribute")
        for attribute in task.attributes:
            inside = attribute.low <= scores[attribute.name] <= attribute.high
            _check(inside, f"scales: {attribute.name} goes from {attribute.low} to {attribute.high}")


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise ServiceError(f"answers: {message}")


def _check_flags(flags: Sequence[str], config: CampaignConfig) -> None:
    unknown = set(flags) - set(config.flags)
    if unknown:
        raise ServiceError(f"flags: this campaign has no {', '.join(sorted(unknown))}")


def _settle_slot(connection: Connection, found: Lease, *, is_answer: bool) -> bool:
    """Close the slot for an answer, open it again for a skip. True where the answer is one more than was needed."""
    if found.purpose != "task":
        return False
    if not is_answer:
        leases.give_up_slot(connection, found.lease_id)
        return False
    return leases.claim_slot(connection, found, "done") is None


_SUPERSEDE = (
    update(judgment)
    .where(
        judgment.c.item_id == bindparam("of_item"),
        judgment.c.rater_id == bindparam("rater"),
        judgment.c.occasion == bindparam("of_occasion"),
        judgment.c.is_current,
    )
    .values(is_current=False)
    .returning(judgment.c.revision)
)
_INSERT = insert(judgment).returning(judgment.c.id)


def _append(connection: Connection, found: Lease, values: dict[str, Any], config: CampaignConfig, now: float) -> Acknowledgement:
    same = {"of_item": found.item_id, "rater": found.rater_id, "of_occasion": found.occasion}
    before = connection.scalar(_SUPERSEDE, same)
    row = {
        "campaign_id": found.campaign_id,
        "item_id": found.item_id,
        "lease_id": found.lease_id,
        "rater_id": found.rater_id,
        "occasion": found.occasion,
        "revision": (before or 0) + 1,
        "is_current": True,
        "purpose": found.purpose,
        "screen_order": list(found.screen_order),
        "judged_at": now,
        # Not known where the clock went back meanwhile: pay is then by active time alone.
        "elapsed_s": now - found.leased_at if now >= found.leased_at else None,
        **values,
    }
    judgment_id = connection.execute(_INSERT, row).scalar_one()
    return Acknowledgement(
        judgment_id=judgment_id,
        lease_id=found.lease_id,
        revision=row["revision"],
        kind=row["kind"],
        is_surplus=row["is_surplus"],
        undo_until=now + config.undo_grace_minutes * MINUTE_S,
    )


_BY_KEY = select(judgment).where(judgment.c.rater_id == bindparam("rater"), judgment.c.idempotency_key == bindparam("key"))


def _by_key(connection: Connection, rater_id: int, key: str) -> RowMapping | None:
    return connection.execute(_BY_KEY, {"rater": rater_id, "key": key}).mappings().one_or_none()


def _acknowledgement(connection: Connection, row: RowMapping) -> Acknowledgement:
    config = campaigns.config_of(campaigns.get(connection, row["campaign_id"]))
    return Acknowledgement(
        judgment_id=row["id"],
        lease_id=row["lease_id"],
        revision=row["revision"],
        kind=row["kind"],
        is_surplus=row["is_surplus"],
        undo_until=row["judged_at"] + config.undo_grace_minutes * MINUTE_S,
    )


_HASH = select(guideline.c.guideline_hash).where(guideline.c.id == bindparam("of_guideline"))


def _guideline_hash(connection: Connection, row: RowMapping) -> str:
    if row["guideline_id"] is None:
        return ""
    found = connection.scalar(_HASH, {"of_guideline": row["guideline_id"]})
    if found is None:
        raise NotFoundError(f"campaign {row['name']!r}: its guideline is gone")
    return str(found)
