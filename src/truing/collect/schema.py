"""The tables. `migrations/` holds how a database came to have them; a test compares the two.

Times (`*_at`) are seconds since 1970 UTC. Secrets (session ids, invites, API tokens) are stored as sha256 only. A rater's answers
are stored in the item's own order of responses, never in the order they stood on the screen.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Id = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows by itself only where the type is INTEGER."""


def _id() -> Column[int]:
    return Column("id", Id, primary_key=True, autoincrement=True)


def _at(name: str, *, nullable: bool = False) -> Column[float]:
    return Column(name, Float, nullable=nullable)


def _to(name: str, target: str, *, nullable: bool = False, index: bool = False) -> Column[int]:
    return Column(name, Id, ForeignKey(f"{target}.id"), nullable=nullable, index=index)


account = Table(
    "account",
    metadata,
    _id(),
    # Erasing a person empties login, name and password; the pseudonym stays, so that judgments keep an author.
    Column("login", String(254), unique=True, nullable=True),
    Column("name", String(200), nullable=False, server_default=""),
    Column("pseudonym", String(40), unique=True, nullable=False),
    Column("role", String(10), nullable=False),
    Column("password_hash", String(200), nullable=True),
    Column("oidc_subject", String(500), unique=True, nullable=True),
    Column("is_simulated", Boolean, nullable=False, server_default=text("false")),
    Column("settings", JSON, nullable=False),
    _at("created_at"),
    _at("disabled_at", nullable=True),
    _at("erased_at", nullable=True),
    CheckConstraint("role IN ('rater', 'lead', 'admin')", name="role"),
)

session = Table(
    "session",
    metadata,
    Column("id_hash", String(64), primary_key=True),
    _to("account_id", "account", index=True),
    _at("created_at"),
    _at("seen_at"),
)

invite = Table(
    "invite",
    metadata,
    _id(),
    Column("token_hash", String(64), unique=True, nullable=False),
    Column("role", String(10), nullable=False),
    _to("created_by", "account", nullable=True),
    _at("created_at"),
    _at("expires_at"),
    _to("account_id", "account", nullable=True),
    _at("used_at", nullable=True),
    CheckConstraint("role IN ('rater', 'lead', 'admin')", name="role"),
)

sign_in_attempt = Table(
    "sign_in_attempt",
    metadata,
    _id(),
    Column("key", String(300), nullable=False),
    _at("at"),
    Index("ix_sign_in_attempt_key_at", "key", "at"),
)

api_token = Table(
    "api_token",
    metadata,
    _id(),
    _to("account_id", "account", index=True),
    Column("name", String(200), nullable=False),
    Column("token_hash", String(64), unique=True, nullable=False),
    Column("scopes", JSON, nullable=False),
    _at("created_at"),
    _at("used_at", nullable=True),
    _at("revoked_at", nullable=True),
)

guideline = Table(
    "guideline",
    metadata,
    _id(),
    Column("name", String(200), nullable=False),
    Column("version", Integer, nullable=False),
    Column("text", Text, nullable=False),
    Column("guideline_hash", String(64), nullable=False, index=True),
    Column("change_note", Text, nullable=False, server_default=""),
    _to("created_by", "account", nullable=True),
    _at("created_at"),
    UniqueConstraint("name", "version"),
)

guideline_read = Table(
    "guideline_read",
    metadata,
    _to("account_id", "account"),
    _to("guideline_id", "guideline"),
    _at("read_at"),
    UniqueConstraint("account_id", "guideline_id"),
)

campaign = Table(
    "campaign",
    metadata,
    _id(),
    Column("name", String(200), unique=True, nullable=False),
    Column("status", String(10), nullable=False),
    Column("config", JSON, nullable=False),
    # None = the campaign has no guideline; otherwise the version that is followed now.
    _to("guideline_id", "guideline", nullable=True),
    _to("created_by", "account", nullable=True),
    _at("created_at"),
    CheckConstraint("status IN ('open', 'paused', 'closed')", name="status"),
)

item = Table(
    "item",
    metadata,
    _id(),
    _to("campaign_id", "campaign"),
    # Sorts by its bytes everywhere: an export's order must not depend on a locale.
    Column("external_id", String(200).with_variant(String(200, collation="C"), "postgresql"), nullable=False),
    Column("purpose", String(12), nullable=False),
    Column("prompt", JSON, nullable=False),
    Column("responses", JSON, nullable=False),
    Column("policies", JSON, nullable=False),
    Column("gold", JSON(none_as_null=True), nullable=True),
    Column("source", String(200), nullable=False, server_default=""),
    Column("item_group", String(200), nullable=False, server_default=""),
    Column("strategy", String(60), nullable=False, server_default=""),
    Column("propensity", Float, nullable=True),
    Column("meta", JSON, nullable=False),
    _at("created_at"),
    UniqueConstraint("campaign_id", "external_id"),
    Index("ix_item_campaign_id_purpose", "campaign_id", "purpose"),
    CheckConstraint("purpose IN ('task', 'gold', 'calibration')", name="purpose"),
)

slot = Table(
    # One judgment that an item still needs, is being given, or has.
    "slot",
    metadata,
    _id(),
    _to("campaign_id", "campaign"),
    _to("item_id", "item", index=True),
    # Slots are handed out by rank: every item's first before any item's second, so that overlap grows evenly.
    Column("rank", Integer, nullable=False),
    Column("state", String(8), nullable=False),
    # Who has it now. Not a foreign key: it is written by the statement that finds the slot, before the lease's own row.
    Column("lease_id", String(40), nullable=True, index=True),
    CheckConstraint("state IN ('open', 'leased', 'done')", name="state"),
    Index(
        "ix_slot_open", "campaign_id", "rank", "id", sqlite_where=text("state = 'open'"), postgresql_where=text("state = 'open'")
    ),
    Index("ix_slot_campaign_id_state", "campaign_id", "state"),
)

lease = Table(
    # An item in a rater's hands. One row an item, rater and occasion: given again, it is the same lease.
    "lease",
    metadata,
    Column("id", String(40), primary_key=True),
    _to("campaign_id", "campaign"),
    _to("item_id", "item"),
    _to("rater_id", "account"),
    # None for gold, repeats and calibration: they fill no need.
    _to("slot_id", "slot", nullable=True),
    Column("purpose", String(12), nullable=False),
    # 0 = the rater's first answer to the item, 1 = the blind repeat.
    Column("occasion", Integer, nullable=False),
    # screen_order[i] = index of the response shown at place i.
    Column("screen_order", JSON, nullable=False),
    Column("state", String(10), nullable=False),
    _at("leased_at"),
    _at("expires_at"),
    UniqueConstraint("item_id", "rater_id", "occasion"),
    Index("ix_lease_rater_id_campaign_id_state", "rater_id", "campaign_id", "state"),
    Index("ix_lease_held", "expires_at", sqlite_where=text("state = 'held'"), postgresql_where=text("state = 'held'")),
    CheckConstraint("state IN ('held', 'answered', 'skipped', 'released')", name="state"),
    CheckConstraint("purpose IN ('task', 'gold', 'repeat', 'calibration')", name="purpose"),
)

draft = Table(
    "draft",
    metadata,
    Column("lease_id", String(40), ForeignKey("lease.id"), primary_key=True),
    Column("content", JSON, nullable=False),
    _at("saved_at"),
)

judgment = Table(
    "judgment",
    metadata,
    _id(),
    _to("campaign_id", "campaign"),
    _to("item_id", "item"),
    Column("lease_id", String(40), ForeignKey("lease.id"), nullable=False, index=True),
    _to("rater_id", "account"),
    Column("occasion", Integer, nullable=False),
    Column("revision", Integer, nullable=False),
    # The one column of a row that ever changes: false once a later revision is there.
    Column("is_current", Boolean, nullable=False),
    Column("kind", String(10), nullable=False),
    Column("purpose", String(12), nullable=False),
    Column("answers", JSON, nullable=False),
    Column("screen_order", JSON, nullable=False),
    Column("flags", JSON, nullable=False),
    Column("clause", String(100), nullable=False, server_default=""),
    Column("skip_reason", Text, nullable=False, server_default=""),
    Column("guideline_hash", String(64), nullable=False, server_default=""),
    Column("active_s", Float, nullable=True),
    # Wall time from lease to submission: what active_s is held against for pay.
    Column("elapsed_s", Float, nullable=True),
    Column("is_surplus", Boolean, nullable=False),
    Column("idempotency_key", String(100), nullable=False),
    _at("judged_at"),
    UniqueConstraint("item_id", "rater_id", "occasion", "revision"),
    UniqueConstraint("rater_id", "idempotency_key"),
    Index("ix_judgment_campaign_id_id", "campaign_id", "id"),
    Index("ix_judgment_progress", "campaign_id", "is_current", "kind", "purpose", "is_surplus"),
    Index("ix_judgment_rater_id_judged_at", "rater_id", "judged_at"),
    Index(
        "uq_judgment_current",
        "item_id",
        "rater_id",
        "occasion",
        unique=True,
        sqlite_where=text("is_current"),
        postgresql_where=text("is_current"),
    ),
    CheckConstraint("kind IN ('answer', 'skip', 'withdrawn')", name="kind"),
)

qualification = Table(
    "qualification",
    metadata,
    _id(),
    _to("account_id", "account", index=True),
    Column("name", String(100), nullable=False),
    Column("status", String(10), nullable=False),
    Column("score", Float, nullable=True),
    _at("decided_at"),
    _at("expires_at", nullable=True),
    # The last step that the person had done: once it has to be earned again, those after it count.
    Column("last_onboarding_id", Id, nullable=False, server_default="0"),
    UniqueConstraint("account_id", "name"),
    CheckConstraint("status IN ('granted', 'failed', 'revoked')", name="status"),
)

onboarding = Table(
    "onboarding",
    metadata,
    _id(),
    _to("account_id", "account"),
    _to("campaign_id", "campaign", nullable=True),
    Column("step", String(40), nullable=False),
    Column("result", JSON, nullable=False),
    _at("started_at"),
    _at("finished_at", nullable=True),
    # The last judgment there was when a calibration began: those after it are its answers, whatever the clock says.
    Column("last_judgment_id", Id, nullable=False, server_default="0"),
    Index("ix_onboarding_account_id_campaign_id_step", "account_id", "campaign_id", "step"),
)

payment = Table(
    "payment",
    metadata,
    _id(),
    _to("account_id", "account", index=True),
    _to("campaign_id", "campaign", nullable=True),
    _to("judgment_id", "judgment", nullable=True),
    Column("kind", String(12), nullable=False),
    Column("amount_cents", Integer, nullable=False),
    Column("note", Text, nullable=False, server_default=""),
    _at("created_at"),
)

message = Table(
    "message",
    metadata,
    _id(),
    _to("sender_id", "account", nullable=True),
    _to("recipient_id", "account", index=True),
    Column("text", Text, nullable=False),
    _at("created_at"),
    _at("read_at", nullable=True),
)

adjudication = Table(
    "adjudication",
    metadata,
    _id(),
    _to("campaign_id", "campaign"),
    _to("item_id", "item"),
    _to("decided_by", "account", nullable=True),
    Column("status", String(10), nullable=False),
    Column("answers", JSON(none_as_null=True), nullable=True),
    Column("clause", String(100), nullable=False, server_default=""),
    Column("note", Text, nullable=False, server_default=""),
    Column("amendment", JSON(none_as_null=True), nullable=True),
    _at("created_at"),
    _at("decided_at", nullable=True),
    UniqueConstraint("item_id"),
    CheckConstraint("status IN ('waiting', 'decided')", name="status"),
)

export = Table(
    "export",
    metadata,
    _id(),
    Column("name", String(200), unique=True, nullable=False),
    Column("config", JSON, nullable=False),
    # freezing: members are being added; writing: the set is on its way to disk; done; failed: `error` says why.
    Column("state", String(10), nullable=False, server_default="done"),
    # The last judgment there was when the export began, and how far freezing has come.
    Column("last_judgment_id", Id, nullable=False, server_default="0"),
    Column("frozen_judgment_id", Id, nullable=False, server_default="0"),
    # Reason -> judgments that the set does not hold.
    Column("exclusions", JSON, nullable=False, server_default="{}"),
    Column("error", Text, nullable=False, server_default=""),
    Column("set_hash", String(64), nullable=False),
    _to("created_by", "account", nullable=True),
    _at("frozen_at"),
)

export_member = Table(
    "export_member",
    metadata,
    _to("export_id", "export"),
    _to("judgment_id", "judgment", index=True),
    UniqueConstraint("export_id", "judgment_id"),
)

chat = Table(
    # A rater's conversation with two policies at a time. Each turn's answers are an item of their own.
    "chat",
    metadata,
    _id(),
    _to("campaign_id", "campaign"),
    _to("rater_id", "account"),
    # Up to and with the rater's last message.
    Column("messages", JSON, nullable=False),
    Column("turn", Integer, nullable=False),
    Column("state", String(10), nullable=False),
    # The comparison of the turn, once its answers are there.
    Column("lease_id", String(40), ForeignKey("lease.id"), nullable=True),
    _at("created_at"),
    _at("asked_at"),
    Index("ix_chat_rater_id_campaign_id", "rater_id", "campaign_id"),
    CheckConstraint("state IN ('composing', 'waiting', 'comparing', 'ended')", name="state"),
)

reply = Table(
    # An answer that a chat or an item waits for, of one policy. Workers take and write them.
    "reply",
    metadata,
    _id(),
    _to("chat_id", "chat", nullable=True),
    _to("item_id", "item", nullable=True),
    Column("turn", Integer, nullable=False),
    Column("place", Integer, nullable=False),
    Column("policy", String(200), nullable=False),
    Column("messages", JSON, nullable=False),
    Column("state", String(8), nullable=False),
    Column("text", Text, nullable=False),
    Column("error", Text, nullable=False),
    _at("asked_at"),
    _at("taken_at", nullable=True),
    UniqueConstraint("chat_id", "turn", "place"),
    UniqueConstraint("item_id", "place"),
    Index("ix_reply_state_policy", "state", "policy"),
    CheckConstraint("state IN ('waiting', 'taken', 'done', 'failed')", name="state"),
)

webhook = Table(
    "webhook",
    metadata,
    _id(),
    Column("url", Text, nullable=False),
    Column("actions", JSON, nullable=False),
    # The signing key is derived from the service's key and this salt: a copy of the database alone signs nothing.
    Column("salt", String(64), nullable=False),
    _to("created_by", "account", nullable=True),
    _at("created_at"),
    _at("disabled_at", nullable=True),
    # Events up to here have become deliveries, or were not asked for.
    Column("last_event_id", Id, nullable=False, server_default="0"),
)

api_reply = Table(
    # What a request was answered: sent again under its key, it is answered the same.
    "api_reply",
    metadata,
    _to("account_id", "account"),
    Column("idempotency_key", String(100), nullable=False),
    Column("request_hash", String(64), nullable=False),
    Column("reply", Text, nullable=False),
    Column("created_at", Float, nullable=False, index=True),
    UniqueConstraint("account_id", "idempotency_key"),
)

webhook_delivery = Table(
    "webhook_delivery",
    metadata,
    _id(),
    _to("webhook_id", "webhook", index=True),
    _to("event_id", "event"),
    Column("attempts", Integer, nullable=False),
    Column("last_status", Integer, nullable=True),
    Column("last_error", Text, nullable=False, server_default=""),
    _at("next_attempt_at", nullable=True),
    _at("delivered_at", nullable=True),
    UniqueConstraint("webhook_id", "event_id"),
    Index(
        "ix_webhook_delivery_due",
        "next_attempt_at",
        "id",
        sqlite_where=text("next_attempt_at IS NOT NULL"),
        postgresql_where=text("next_attempt_at IS NOT NULL"),
    ),
)

event = Table(
    "event",
    metadata,
    _id(),
    _at("at"),
    # None = the service itself, or someone not signed in.
    _to("account_id", "account", nullable=True),
    Column("action", String(60), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("detail", JSON, nullable=False),
    Index("ix_event_action_id", "action", "id"),
)
