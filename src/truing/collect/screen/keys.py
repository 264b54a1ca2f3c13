"""The rating screen's keys: what each does, and a rater's own choice of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import Field, field_validator

from truing.collect.errors import ServiceError
from truing.config import Config

SETTING = "rating_screen"
"""Under this name the choice lies in the account's settings."""


@dataclass(frozen=True)
class Action:
    """Something a key does. The scale's own keys, the digits, cannot be changed."""

    name: str
    key: str
    label: str


ACTIONS = (
    Action("submit", "Enter", "Send the answer and take the next"),
    Action("flag", "f", "Flag a problem"),
    Action("rewrite", "r", "Rewrite the better answer"),
    Action("critique", "c", "Write a critique"),
    Action("skip", "s", "Skip, with a reason"),
    Action("diff", "d", "Show what differs"),
    Action("guideline", "g", "Open the guideline"),
    Action("undo", "u", "Take the last answer back"),
    Action("help", "?", "Show the keys"),
)
DEFAULTS = {action.name: action.key for action in ACTIONS}


class ScreenSettings(Config):
    """How one rater's screen behaves. Stored with the account, so that it is the same on every machine."""

    keys: dict[str, str] = Field(default_factory=dict)
    """Key by action, where it is not the usual one."""
    are_keys_on: bool = True
    scroll_together: bool = True

    @field_validator("keys")
    @classmethod
    def _are_single_keys(cls, keys: dict[str, str]) -> dict[str, str]:
        used = {**DEFAULTS, **keys}
        for action, key in keys.items():
            if action not in DEFAULTS:
                raise ValueError(f"there is no action {action!r}")
            if key != DEFAULTS[action] and (len(key) != 1 or not key.isprintable() or key.isspace() or key.isdigit()):
                raise ValueError(f"{action}: choose one letter or sign; digits are the scale's")
        twice = {key for key in used.values() if list(used.values()).count(key) > 1}
        if twice:
            raise ValueError(f"{', '.join(sorted(twice))}: one key cannot do two things")
        return keys

    @property
    def key_of(self) -> dict[str, str]:
        """The key of every action."""
        return {**DEFAULTS, **self.keys}


def settings_of(account_settings: Mapping[str, object]) -> ScreenSettings:
    """A rater's own settings; the usual ones where they never chose."""
    return ScreenSettings.model_validate(account_settings.get(SETTING, {}))


def from_form(form: Mapping[str, str]) -> ScreenSettings:
    """Settings from the page's form. Raises ServiceError saying which key cannot be."""
    keys = {name: _key(form.get(name, usual), usual) for name, usual in DEFAULTS.items()}
    try:
        return ScreenSettings(
            keys={name: key for name, key in keys.items() if key != DEFAULTS[name]},
            are_keys_on="are_keys_on" in form,
            scroll_together="scroll_together" in form,
        )
    except ValueError as error:
        reason = str(error).split("Value error, ")[-1].split(" [type=")[0]
        raise ServiceError(reason) from None


def _key(typed: str, usual: str) -> str:
    key = typed.strip()
    return usual if not key or key.casefold() == usual.casefold() else key.lower()


def key_label(key: str) -> str:
    """A key as it is shown: letters large, as on the keyboard."""
    return key.upper() if len(key) == 1 else key
