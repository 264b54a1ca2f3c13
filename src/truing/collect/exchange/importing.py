"""Judged answers into a campaign: comparisons become items; judgments, where wanted, answers that were given elsewhere.

A rater of the file becomes an account that nobody can sign in to, the same one for the same name in the same campaign. Where the
file does not say which answer stood at left, no order of the screen is stored. What is there already (by the comparison's id, by
rater and item) is left as it is, so an import that was cut short is simply made again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any

from sqlalchemy import Connection, insert, select

from truing.collect import campaigns, leases
from truing.collect.answers import PairAnswer
from truing.collect.database import Database
from truing.collect.errors import ServiceError
from truing.collect.exchange.judged import Judged
from truing.collect.leases import Lease
from truing.collect.new_items import NewItem
from truing.collect.schema import account, item, judgment, lease
from truing.collect.sent import cleaned
from truing.records import Comparison, Judgment, Record, Side, content_hash

PAIRS_A_STEP = 500
BATCH = "batch"
"""Where an item's `meta` names the batch it was added with."""
_SCREEN_ORDER: dict[Side | None, tuple[int, ...]] = {"first": (0, 1), "second": (1, 0), None: ()}


class Imported(Record):
    """What an import added; `present` were there already, `left_out` are rows that could not be read."""

    items: int = 0
    judgments: int = 0
    present: int = 0
    left_out: tuple[str, ...] = ()


def import_judged(
    database: Database,
    campaign_id: int,
    judged: Iterable[Judged],
    *,
    with_judgments: bool,
    now: float,
    by: int | None = None,
) -> Imported:
    """Add comparisons to a campaign that asks for pairs, a step at a time, each step one transaction.

    Raises ServiceError where the campaign asks for something else, ConflictError where its budget does not reach.
    """
    rows = (Judged(cleaned(j.comparison), tuple(map(cleaned, j.judgments)), j.remarks) for j in judged)
    added = Imported()
    while step := list(islice(rows, PAIRS_A_STEP)):
        work = partial(_add, campaign_id=campaign_id, judged=step, with_judgments=with_judgments, now=now, by=by)
        more = database.write(work)
        added = Imported(**{name: getattr(added, name) + getattr(more, name) for name in Imported.model_fields})
    return added


def as_item(comparison: Comparison, batch: str = "") -> NewItem:
    """A comparison as an item to be judged; one with a known answer is a gold item."""
    gold = None
    if comparison.gold is not None:
        gold = (PairAnswer(choice=comparison.gold, margin=0 if comparison.gold == "tie" else 1),)
    return NewItem(
        external_id=comparison.comparison_id,
        prompt=comparison.prompt,
        responses=(comparison.first, comparison.second),
        policies=comparison.policies,
        purpose="task" if gold is None else "gold",
        gold=gold,
        source=comparison.source,
        group=comparison.group,
        strategy=comparison.strategy,
        propensity=comparison.propensity,
        meta={BATCH: batch} if batch else {},
    )


def add_comparisons(
    connection: Connection,
    campaign_id: int,
    comparisons: Sequence[Comparison],
    *,
    batch: str = "",
    now: float,
    by: int | None = None,
) -> dict[str, int]:
    """Add the comparisons that are not there yet. Returns every one's item by its id. Raises ConflictError over the budget."""
    config = campaigns.config_of(campaigns.get(connection, campaign_id))
    if "pair" not in {task.type for task in config.tasks}:
        raise ServiceError(f"campaign {config.name!r} does not ask for pairs, and comparisons are pairs")
    present = _present(connection, campaign_id, [c.comparison_id for c in comparisons])
    new = list({c.comparison_id: c for c in comparisons if c.comparison_id not in present}.values())
    ids = campaigns.add_items(connection, campaign_id, [as_item(c, batch) for c in new], now=now, by=by)
    return present | dict(zip((c.comparison_id for c in new), ids, strict=True))


def _add(
    connection: Connection, *, campaign_id: int, judged: Sequence[Judged], with_judgments: bool, now: float, by: int | None
) -> Imported:
    names = [pair.comparison.comparison_id for pair in judged]
    n_present = len(_present(connection, campaign_id, names))
    items = add_comparisons(connection, campaign_id, [pair.comparison for pair in judged], now=now, by=by)
    n_judgments = 0
    if with_judgments:
        answers = _Answers(connection, campaign_id, now)
        n_judgments = sum(answers.add(items[j.comparison_id], j, number) for pair in judged for number, j in _numbered(pair))
    return Imported(items=len(items) - n_present, judgments=n_judgments, present=n_present)


def _numbered(pair: Judged) -> Iterable[tuple[int, Judgment]]:
    """Each judgment with how many the same rater gave before it."""
    given: dict[str, int] = {}
    for j in pair.judgments:
        yield given.setdefault(j.rater_id, 0), j
        given[j.rater_id] += 1


def _present(connection: Connection, campaign_id: int, names: Sequence[str]) -> dict[str, int]:
    wanted = select(item.c.external_id, item.c.id).where(item.c.campaign_id == campaign_id, item.c.external_id.in_(names))
    return {row.external_id: row.id for row in connection.execute(wanted)}


class _Answers:
    """Writes judgments of one step; remembers the accounts it made."""

    def __init__(self, connection: Connection, campaign_id: int, now: float) -> None:
        self._connection = connection
        self._campaign_id = campaign_id
        self._now = now
        self._raters: dict[str, int] = {}

    def add(self, item_id: int, given: Judgment, occasion: int) -> bool:
        """Store one judgment, unless the rater's answer of this occasion is there. A rater's further answers are repeats."""
        rater_id = self._rater(given)
        same = (judgment.c.item_id == item_id, judgment.c.rater_id == rater_id, judgment.c.occasion == occasion)
        if self._connection.scalar(select(judgment.c.id).where(*same)) is not None:
            return False
        purpose = "repeat" if occasion else str(self._connection.scalar(select(item.c.purpose).where(item.c.id == item_id)))
        found = self._lease(given, item_id, rater_id, occasion, purpose)
        slot_id = leases.claim_slot(self._connection, found, "done") if purpose == "task" else None
        held = {name: getattr(found, name) for name in ("campaign_id", "item_id", "rater_id", "occasion", "purpose")}
        order = list(found.screen_order)
        times = {"leased_at": found.leased_at, "expires_at": found.expires_at}
        self._connection.execute(
            insert(lease).values(**held, id=found.lease_id, slot_id=slot_id, screen_order=order, state="answered", **times)
        )
        is_surplus = given.surplus or (purpose == "task" and slot_id is None)
        answer = _answer(given, found.lease_id) | {"judged_at": found.leased_at, "is_surplus": is_surplus}
        self._connection.execute(insert(judgment).values(**held, **answer, screen_order=order))
        return True

    def _lease(self, given: Judgment, item_id: int, rater_id: int, occasion: int, purpose: str) -> Lease:
        at = datetime.fromisoformat(given.judged_at).timestamp() if given.judged_at else self._now
        return Lease(
            lease_id=content_hash(["import", item_id, rater_id, occasion])[:40],
            campaign_id=self._campaign_id,
            item_id=item_id,
            rater_id=rater_id,
            slot_id=None,
            purpose=purpose,
            occasion=occasion,
            screen_order=_SCREEN_ORDER[given.left],
            state="answered",
            leased_at=at,
            expires_at=at,
        )

    def _rater(self, given: Judgment) -> int:
        """The account that stands for a rater of the file, made where it is not there."""
        if given.rater_id not in self._raters:
            pseudonym = f"import-{content_hash([self._campaign_id, given.rater_id])[:20]}"
            found = self._connection.scalar(select(account.c.id).where(account.c.pseudonym == pseudonym))
            if found is None:
                values = {"name": given.rater_id[:200], "is_simulated": given.simulated, "settings": {}}
                times = {"created_at": self._now, "disabled_at": self._now}
                row = insert(account).values(pseudonym=pseudonym, role="rater", **values, **times)
                found = self._connection.scalar(row.returning(account.c.id))
            assert found is not None
            self._raters[given.rater_id] = found
        return self._raters[given.rater_id]


def _answer(given: Judgment, lease_id: str) -> dict[str, Any]:
    """The columns that say what was answered. A choice without a margin is the smallest step."""
    margin = 0 if given.choice == "tie" else given.margin or 1
    answered = PairAnswer(choice=given.choice, margin=margin, both_bad=given.both_bad)
    return {
        "lease_id": lease_id,
        "revision": 1,
        "is_current": True,
        "kind": "answer",
        "answers": [answered.model_dump(mode="json")],
        "flags": list(given.flags),
        "clause": given.clause[:100],
        "skip_reason": "",
        "guideline_hash": given.guideline_hash,
        "active_s": given.active_s,
        "idempotency_key": lease_id,
    }
