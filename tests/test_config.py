"""What holds for every room's settings."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import get_args

import pytest

from truing.collect.config import CampaignConfig, ServiceConfig
from truing.config import Config, validate
from truing.errors import TruingError
from truing.program.recipe import Recipe


def optional_keys(cls: type[Config], prefix: str = "") -> Iterator[str]:
    """Every key of `cls` and of the tables in it that may be None."""
    for name, field in cls.model_fields.items():
        if NoneType in get_args(field.annotation):
            yield prefix + name
        elif isinstance(field.annotation, type) and issubclass(field.annotation, Config):
            yield from optional_keys(field.annotation, f"{prefix}{name}.")


@pytest.mark.parametrize("cls", [Recipe, CampaignConfig, ServiceConfig])
def test_whatever_may_be_none_can_be_written_so(cls: type[Config], tmp_path: Path) -> None:
    keys = list(optional_keys(cls))
    assert keys
    values = tomllib.loads("".join(f'{key} = "none"\n' for key in keys))
    values |= {"name": "june"} if cls is CampaignConfig else {}
    read = Recipe.from_values(values, folder=tmp_path) if cls is Recipe else validate(cls, values, "file")
    for key in keys:
        value: object = read
        for part in key.split("."):
            value = getattr(value, part)
        assert value is None, key


def test_none_takes_back_what_others_set() -> None:
    recipe = Recipe.from_values(
        tomllib.loads(
            '[ppo]\nmissing_end_penalty = "none"\n[model]\nlora = {rank = 4}\n[data]\nmax_rows = 5\n[[rounds]]\n[[rounds]]\n'
        ),
        ["rounds.2.data.max_rows=none", "model.lora=none"],
    )
    assert recipe.ppo.missing_end_penalty is None
    assert recipe.model.lora is None
    assert (recipe.for_round(1).data.max_rows, recipe.for_round(2).data.max_rows) == (5, None)


def test_what_may_not_be_none_keeps_its_words() -> None:
    assert Recipe.from_values({"data": {"gold": "none"}}).data.gold == "none"
    with pytest.raises(TruingError, match=r"'ppo\.updates'.*got 'none'"):
        Recipe.from_values({"ppo": {"updates": "none"}})


def test_what_is_known_is_listed_once() -> None:
    with pytest.raises(TruingError) as raised:
        validate(Recipe, {"nonsense": 1, "rubbish": 2}, "mine.toml")
    assert str(raised.value).count("known here") == 1
    assert "unknown key 'rubbish'" in str(raised.value)
