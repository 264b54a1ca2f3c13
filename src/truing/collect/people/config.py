"""What a campaign owes its raters: pay, limits to what they are shown, and the code that a crowd platform asks for."""

from __future__ import annotations

from decimal import Decimal

from pydantic import Field

from truing.config import Config


class PayConfig(Config):
    """An hour of active time plus each item. Never docked: pay does not look at what was answered."""

    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$")
    hourly: Decimal = Field(default=Decimal(0), ge=0, max_digits=8, decimal_places=4)
    """For an hour of active time: what an hour earns at least."""
    per_item: Decimal = Field(default=Decimal(0), ge=0, max_digits=8, decimal_places=4)
    """On top, for each item answered."""


class ExposureConfig(Config):
    """Harmful content: only for those who asked for it, opened blurred, and not without end."""

    harmful: bool = False
    """The campaign's texts may be harmful."""
    harm_per_day: int = Field(default=40, ge=0)
    """Items of harmful campaigns that one person is given in a day (UTC), whatever they ask for."""


class CompletionConfig(Config):
    """The end of a session for people who come from a crowd platform."""

    items: int = Field(default=20, ge=1)
    """Answers after which a session is complete."""
    code: str = Field(default="", max_length=60, pattern=r"^[A-Za-z0-9-]*$")
    """The platform's own code (Prolific); empty = a code of each rater's own (Mechanical Turk)."""
    return_url: str = Field(default="", max_length=500, pattern=r"^(https://\S+)?$")
    """Where the platform takes people back to; {code} in it stands for the code."""
