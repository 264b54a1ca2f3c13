"""Configuration: people write TOML, machines write JSON, `--set a.b=value` overrides, a wrong key names the nearest one.

TOML has no word for nothing: where a setting may be None, people write "none".
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from truing.errors import TruingError, nearest

NONE = "none"
"""Written for a setting that may be None."""
_QUOTED = re.compile(r"'([^']*)'")
"""Words that a setting may have, as pydantic lists them."""


class Config(BaseModel):
    """Base of every room's configuration. Immutable; unknown keys are refused; defaults are the vetted recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _read_none(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        return {
            key: None if isinstance(value, str) and value == NONE and cls._may_be_none(key) else value
            for key, value in values.items()
        }

    @classmethod
    def _may_be_none(cls, key: str) -> bool:
        return key in cls.model_fields and NoneType in get_args(cls.model_fields[key].annotation)

    def with_changes(self, **changes: Any) -> Self:
        """A copy with the given fields replaced, validated again."""
        return type(self).model_validate({**self.model_dump(), **changes})


ConfigT = TypeVar("ConfigT", bound=BaseModel)


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file. Raises TruingError naming the file, and the line where the parser stopped."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TruingError(f"{path}: no such file. Name an existing TOML file.") from None
    except IsADirectoryError:
        raise TruingError(f"{path}: is a folder. Name a TOML file.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TruingError(f"{path}: not valid TOML: {error}") from None


def apply_overrides(values: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Apply `a.b=value` strings over nested tables. Values are read as TOML, and as plain text where that fails."""
    result: dict[str, Any] = json.loads(json.dumps(values))
    for override in overrides:
        dotted, separator, raw = override.partition("=")
        if not separator or not dotted.strip():
            raise TruingError(f"--set {override!r}: write it as key=value, for example --set ppo.kl.beta=0.05")
        table = result
        *parents, leaf = dotted.strip().split(".")
        for key in parents:
            table = table.setdefault(key, {})
            if not isinstance(table, dict):
                raise TruingError(f"--set {override!r}: '{key}' holds a value, not a table of settings")
        table[leaf] = _parse_value(raw.strip())
    return result


def _parse_value(raw: str) -> Any:
    try:
        return tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        return raw


def validate(cls: type[ConfigT], values: Mapping[str, Any], where: str) -> ConfigT:
    """Build `cls` from nested tables. Raises TruingError with one line a problem; an unknown key names the nearest right one.

    `where` says what was being read (a file, or "--set"), for the message.
    """
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        said: set[str] = set()
        lines = [_explain(cls, problem, said) for problem in error.errors()]
        raise TruingError(f"{where}: " + "\n  ".join(lines)) from None


def load(cls: type[ConfigT], path: Path | None, overrides: Sequence[str] = ()) -> ConfigT:
    """Read `path` (or start from the defaults), apply overrides, validate."""
    values = read_toml(path) if path is not None else {}
    return validate(cls, apply_overrides(values, overrides), str(path) if path else "settings")


def _explain(cls: type[BaseModel], problem: Any, said: set[str]) -> str:
    """A problem in a line. What is known at a place stands with its first unknown key alone: `said` holds what was listed."""
    location = [str(part) for part in problem["loc"]]
    dotted = ".".join(location)
    if problem["type"] == "extra_forbidden":
        known = _fields_at(cls, location[:-1])
        listed = f" (known here: {', '.join(sorted(known))})"
        shown = "" if listed in said else listed
        said.add(listed)
        return f"unknown key '{dotted}'{nearest(location[-1], known)}{shown}"
    hint = (
        nearest(str(problem["input"]), _QUOTED.findall(problem["ctx"]["expected"])) if problem["type"] == "literal_error" else ""
    )
    return f"'{dotted}': {problem['msg']}{hint} (got {problem['input']!r:.80})"


def _fields_at(cls: type[BaseModel], path: Sequence[str]) -> list[str]:
    """Field names of the configuration nested at `path`; union tags and list indices in the path are passed through."""
    current: list[type[BaseModel]] = [cls]
    for part in path:
        inner: list[type[BaseModel]] = []
        for model in current:
            field = model.model_fields.get(part)
            if field is not None:
                inner.extend(_models_in(field.annotation))
        current = inner or current
    return sorted({name for model in current for name in model.model_fields})


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in getattr(annotation, "__args__", ()) for model in _models_in(argument)]
