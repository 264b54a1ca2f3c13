"""Every recipe that is shipped can be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from truing.program.recipe import SHIPPED, Recipe

CONFIGS = Path(__file__).parents[1] / "configs"
RECIPES = sorted([*CONFIGS.glob("*.toml"), *SHIPPED.glob("*.toml")])


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_recipes_parse_in_every_round(path):
    recipe = Recipe.load(path)
    for number in range(1, len(recipe.rounds) + 1):
        recipe.for_round(number)


def test_the_quickstart_is_the_one_in_the_wheel():
    assert (CONFIGS / "quickstart.toml").read_text() == (SHIPPED / "quickstart.toml").read_text()


def test_paths_are_relative_to_the_recipe_s_folder():
    recipe = Recipe.load(CONFIGS / "stories-hh.toml")
    assert recipe.model.path == str((CONFIGS / "../../shared/models/stories260K").resolve())
    assert Path(str(recipe.data.comparisons)).is_absolute()


def test_what_nobody_has_run_says_so():
    assert "NOBODY HAS RUN IT YET" in (CONFIGS / "llama-7b-gpu.toml").read_text()
