"""Reading an export's judgments back from the database, item by item, in an order that depends on the data alone.

Items come by their external id, a page at a time along an index; a page's answers are found by their item. So time is linear in
judgments and memory is a page. An item that several campaigns share (same id, same texts) is one comparison with all its answers.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, exists, select

from truing.collect.answers import Answers
from truing.collect.exchange.answered import AnswerRow, ItemRow, as_judged
from truing.collect.exchange.judged import Judged
from truing.collect.schema import account, export_member, item, judgment
from truing.errors import TruingError
from truing.records import Prompt

ITEMS_A_PAGE = 500


class _Answered(NamedTuple):
    """An item of one campaign and its answers in the export."""

    item: ItemRow
    answers: list[AnswerRow]


def read_export(connection: Connection, export_id: int, campaign_ids: Sequence[int]) -> Iterator[Judged]:
    """Every comparison of an export with its judgments. Raises TruingError where campaigns use one id for different items."""
    streams = [_of_campaign(connection, export_id, campaign_id) for campaign_id in campaign_ids]
    merged = heapq.merge(*streams, key=lambda answered: answered.item.external_id)
    for external_id, same in groupby(merged, lambda answered: answered.item.external_id):
        first, *others = same
        for other in others:
            if (other.item.prompt, other.item.responses) != (first.item.prompt, first.item.responses):
                raise TruingError(f"item {external_id!r} is another one in another campaign: export those campaigns separately")
        answers = [row for answered in (first, *others) for row in answered.answers]
        yield from as_judged(first.item, sorted(answers, key=lambda row: (row.rater_id, row.is_repeat, row.judgment_id)))


def _of_campaign(connection: Connection, export_id: int, campaign_id: int) -> Iterator[_Answered]:
    after = ""
    while page := _items_after(connection, campaign_id, after):
        answers = _answers(connection, export_id, [item_id for item_id, _ in page])
        for item_id, row in page:
            if item_id in answers:
                yield _Answered(row, answers[item_id])
        after = page[-1][1].external_id


def _items_after(connection: Connection, campaign_id: int, after: str) -> list[tuple[int, ItemRow]]:
    columns = (
        item.c.id,
        item.c.external_id,
        item.c.prompt,
        item.c.responses,
        item.c.policies,
        item.c.gold,
        item.c.source,
        item.c.item_group,
        item.c.strategy,
        item.c.propensity,
    )
    wanted = select(*columns).where(item.c.campaign_id == campaign_id, item.c.external_id > after)
    rows = connection.execute(wanted.order_by(item.c.external_id).limit(ITEMS_A_PAGE))
    return [(row.id, _item(row)) for row in rows]


def _item(row: Row[*tuple[Any, ...]]) -> ItemRow:
    return ItemRow(
        row.external_id,
        Prompt.model_validate(row.prompt),
        row.responses,
        row.policies,
        None if row.gold is None else Answers.validate_python(row.gold),
        row.source,
        row.item_group,
        row.strategy,
        row.propensity,
    )


def _answers(connection: Connection, export_id: int, item_ids: Sequence[int]) -> dict[int, list[AnswerRow]]:
    columns = (
        judgment.c.item_id,
        judgment.c.id,
        account.c.pseudonym,
        account.c.is_simulated,
        judgment.c.answers,
        judgment.c.screen_order,
        judgment.c.flags,
        judgment.c.clause,
        judgment.c.guideline_hash,
        judgment.c.active_s,
        judgment.c.judged_at,
        judgment.c.occasion,
        judgment.c.is_surplus,
    )
    is_member = exists().where(export_member.c.export_id == export_id, export_member.c.judgment_id == judgment.c.id)
    wanted = select(*columns).join(account, account.c.id == judgment.c.rater_id)
    found: dict[int, list[AnswerRow]] = defaultdict(list)
    for row in connection.execute(wanted.where(judgment.c.item_id.in_(item_ids), is_member)):
        found[row.item_id].append(
            AnswerRow(
                judgment_id=row.id,
                rater_id=row.pseudonym,
                simulated=row.is_simulated,
                answers=Answers.validate_python(row.answers),
                screen_order=row.screen_order,
                flags=row.flags,
                clause=row.clause,
                guideline_hash=row.guideline_hash,
                active_s=row.active_s,
                judged_at=row.judged_at,
                is_repeat=row.occasion > 0,
                is_surplus=row.is_surplus,
            )
        )
    return found
