"""What the API of exchange sends and takes: the service's routes and the Python client use the same records."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from truing.collect.exchange.config import PairFormat
from truing.collect.sent import Sent
from truing.records import Comparison, FileEntry, Record

Action = Literal[
    "export.begun", "export.done", "export.failed", "campaign.paused", "campaign.open", "campaign.closed", "items.added"
]
"""What a webhook can ask for."""


class CampaignView(Record):
    """A campaign, the guideline it follows now (empty = none), and how many judgments it needs and has."""

    id: int
    name: str
    status: Literal["open", "paused", "closed"]
    guideline_hash: str
    items: int
    needed: int
    done: int


class NewComparisons(Sent):
    """Comparisons to be judged in a campaign that asks for pairs. Those whose id is there already are left as they are."""

    comparisons: tuple[Comparison, ...] = Field(min_length=1, max_length=5000)
    batch: str = Field(default="", max_length=60)
    """What these comparisons are asked for and exported by."""


class BatchView(Record):
    """How far a batch is: judgments that its comparisons need, and that are there."""

    batch: str
    items: int
    needed: int
    done: int


class ImportResult(Record):
    """What an import added; `present` were there already, `left_out` says of each row that could not be read why."""

    items: int
    judgments: int = 0
    present: int = 0
    left_out: tuple[str, ...] = ()


class NewExport(Sent):
    """An export of what is in the database now."""

    name: str = Field(min_length=1, max_length=200)
    campaigns: tuple[str, ...] = Field(min_length=1, max_length=100)
    batches: tuple[str, ...] = ()
    """Only these batches' comparisons; none = all."""
    pairs: tuple[PairFormat, ...] = ()


class ExportView(Record):
    """How far an export is; `files` are there to be fetched once it is done."""

    id: int
    name: str
    state: Literal["freezing", "writing", "done", "failed"]
    campaigns: tuple[str, ...]
    set_hash: str
    error: str
    files: tuple[FileEntry, ...]


class NewWebhook(Sent):
    """Where to post which events."""

    url: str = Field(max_length=2000)
    actions: tuple[Action, ...] = Field(min_length=1)


class WebhookView(Record):
    """A webhook. `secret` is what its posts are signed with, shown when it is made."""

    id: int
    url: str
    actions: tuple[str, ...]
    secret: str | None = None


class DeliveryView(Record):
    """One event on its way to a webhook. `next_attempt_at` None and not delivered = given up."""

    id: int
    event: int
    attempts: int
    last_status: int | None
    last_error: str
    next_attempt_at: float | None
    delivered_at: float | None
