"""Settings of a campaign (what is asked, of how many, how it is checked) and of the service."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from truing.collect.chat.config import LiveConfig, SampledConfig
from truing.collect.onboarding.config import OnboardingConfig
from truing.collect.people.config import CompletionConfig, ExposureConfig, PayConfig
from truing.config import Config


class PairTask(Config):
    """Which of two responses is better."""

    type: Literal["pair"] = "pair"
    steps_each_side: int = Field(default=3, ge=1, le=4)
    """Steps of the margin on each side: 3 = slightly, better, much better; 1 = the choice alone."""
    tie: bool = True
    both_bad: bool = True


class RankingTask(Config):
    """Put two to nine responses in order."""

    type: Literal["ranking"] = "ranking"
    ties: bool = True


class Attribute(Config):
    """Something each response is scored on, from `low` to `high`."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)
    low: int = Field(default=0, ge=0)
    high: int = Field(default=4, le=10)
    low_label: str = ""
    high_label: str = ""

    @model_validator(mode="after")
    def _is_scale(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"attribute '{self.name}': low must be below high")
        return self


class ScalesTask(Config):
    """Score each response on attributes."""

    type: Literal["scales"] = "scales"
    attributes: tuple[Attribute, ...] = Field(min_length=1, max_length=20)


class CritiqueTask(Config):
    """Say in words what is good or bad."""

    type: Literal["critique"] = "critique"
    each_response: bool = False
    """Ask about each response, and not only about the whole."""
    is_required: bool = False


class RewriteTask(Config):
    """Write the better response better."""

    type: Literal["rewrite"] = "rewrite"
    is_required: bool = False


Task = Annotated[PairTask | RankingTask | ScalesTask | CritiqueTask | RewriteTask, Field(discriminator="type")]


class SelectionConfig(Config):
    """How the items of a batch were, or are to be, chosen from a pool."""

    strategy: str = "uniform"
    uniform_share: float = Field(default=0.15, ge=0.0, le=1.0)
    """Share of a batch that is drawn uniformly whatever the strategy, for unbiased evaluation."""


class CampaignConfig(Config):
    """What raters are asked, how many answer each item, and how their answers are checked."""

    name: str = Field(min_length=1, max_length=200)
    preset: str = ""
    """A published protocol to start from; the other keys override it."""
    tasks: tuple[Task, ...] = Field(default=(PairTask(),), min_length=1, max_length=5)
    """Asked together on one screen, one of each type at most."""
    flags: tuple[str, ...] = ("unsafe", "personal_data", "not_answerable", "broken")
    """What a rater may mark an item with."""
    overlap: int = Field(default=3, ge=1, le=50)
    """Judgments each item needs, from as many raters."""
    guideline: str = ""
    """Name of the guideline that raters follow; empty = none."""
    selection: SelectionConfig = SelectionConfig()
    gold_share: float = Field(default=0.05, ge=0.0, le=0.5)
    """Share of leases that are items with a known answer."""
    repeat_share: float = Field(default=0.03, ge=0.0, le=0.5)
    """Share of leases that are the rater's own earlier items, sides swapped."""
    repeat_gap: int = Field(default=20, ge=0)
    """A rater's latest answers, which are not asked again yet."""
    max_judgments: int | None = Field(default=None, ge=1)
    """Budget: judgments of task items in all; None = no limit."""
    lease_minutes: float = Field(default=30.0, gt=0)
    """Time a rater has for an item, before it is given to somebody else."""
    max_held: int = Field(default=3, ge=1, le=20)
    """Items one rater may hold at once."""
    undo_grace_minutes: float = Field(default=10.0, ge=0)
    """Time in which an answer may be taken back."""
    onboarding: OnboardingConfig | None = None
    """What raters do before their first item; None = nothing (a team's own people)."""
    pay: PayConfig = PayConfig()
    exposure: ExposureConfig = ExposureConfig()
    live: LiveConfig | None = None
    """Raters talk with two policies, whose answers become the items; None = items are added."""
    sampled: SampledConfig | None = None
    """A worker samples the responses of items that are added without; None = items bring their responses."""
    completion: CompletionConfig | None = None
    """For raters who come from a crowd platform."""

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        types = [task.type for task in self.tasks]
        if len(types) != len(set(types)):
            raise ValueError("tasks: one of each type at most")
        if {"pair", "ranking"} <= set(types):
            raise ValueError("tasks: a campaign compares by pair or by ranking, not both")
        if self.gold_share + self.repeat_share > 0.5:
            raise ValueError("gold_share + repeat_share: at most half of what a rater sees")
        if self.live is not None and (types[0] != "pair" or self.overlap != 1):
            raise ValueError("live: the rater who talks compares a pair: tasks begin with a pair, overlap = 1")
        if self.sampled is not None:
            _check_sampled(self.sampled, set(types), is_live=self.live is not None)
        return self


def _check_sampled(sampled: SampledConfig, types: set[str], *, is_live: bool) -> None:
    if is_live:
        raise ValueError("sampled: responses come from a live chat or are sampled to prompts, not both")
    if "pair" in types and sampled.responses != 2:
        raise ValueError("sampled.responses: a pair has 2")
    if "ranking" in types and sampled.responses < 2:
        raise ValueError("sampled.responses: a ranking has 2 to 9")


class OidcConfig(Config):
    """An identity provider. The client's secret is read from the environment (TRUING_OIDC_SECRET)."""

    issuer: str = Field(pattern=r"^https?://\S+$")
    """Its address; its settings are read from /.well-known/openid-configuration below it."""
    client_id: str
    label: str = "Sign in with your organisation"


class ServiceConfig(Config):
    """How the service answers."""

    public_url: str = Field(default="http://127.0.0.1:8000", pattern=r"^https?://[^/\s]+$")
    """Where browsers reach it; https makes cookies Secure."""
    session_idle_minutes: float = Field(default=12 * 60, gt=0)
    """A session unused for so long ends."""
    session_hours: float = Field(default=14 * 24, gt=0)
    """A session this old ends, used or not."""
    invite_days: float = Field(default=14, gt=0)
    """How long an invitation is good for."""
    sign_in_attempts: int = Field(default=10, ge=1)
    """Failed sign-ins that one name has in `sign_in_window_minutes`."""
    sign_in_attempts_an_address: int = Field(default=200, ge=1)
    """Failed sign-ins that one address has in that time: a whole team may sit behind it."""
    sign_in_window_minutes: float = Field(default=15, gt=0)
    """Over how long failed sign-ins are counted."""
    max_body_bytes: int = Field(default=1 << 20, ge=1024)
    """Largest request that brings no file."""
    max_upload_bytes: int = Field(default=256 << 20, ge=1024)
    """Largest upload of comparisons, judgments or items, to the API or on a page."""
    webhook_networks: tuple[str, ...] = ()
    """Private networks (CIDR) that webhooks may post to, beside public addresses and this machine."""
    oidc: OidcConfig | None = None
    """An identity provider to sign in through, beside passwords."""

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach the service through TLS."""
        return self.public_url.startswith("https://")
