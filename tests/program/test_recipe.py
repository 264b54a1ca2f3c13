import sys
from pathlib import Path
from subprocess import run

import pytest

from truing.errors import TruingError
from truing.program.recipe import Recipe


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def test_the_shipped_quickstart_loads_by_name_and_ties_round_two_tighter() -> None:
    recipe = Recipe.load("quickstart")
    assert len(recipe.rounds) == 2
    assert recipe.for_round(1).ppo.kl.beta < recipe.for_round(2).ppo.kl.beta
    assert recipe.for_round(2).preferences.policies == ("sft", "previous")
    assert recipe.for_round(1).ppo.updates == recipe.ppo.updates


def test_an_unknown_key_names_the_nearest_right_one(tmp_path: Path) -> None:
    with pytest.raises(TruingError, match=r"unknown key 'ppo\.kl\.betta'; did you mean 'beta'"):
        Recipe.load(write(tmp_path, "[ppo.kl]\nbetta = 0.1\n"))
    with pytest.raises(TruingError, match=r"round 2: unknown key 'ppo\.updatess'; did you mean 'updates'"):
        Recipe.load(write(tmp_path, "[[rounds]]\n[[rounds]]\nppo.updatess = 3\n"))


def test_a_wrong_word_names_the_nearest_right_one(tmp_path: Path) -> None:
    with pytest.raises(TruingError, match=r"'preferences\.selection\.strategy': .*; did you mean 'ensemble_variance'"):
        Recipe.load(write(tmp_path, '[preferences.selection]\nstrategy = "ensemble_varience"\npool = 9000\n'))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ('selection.strategy = "large_gap"', "draws from a pool: set pool"),
        ("selection.pool = 500\ncomparisons = 500", "it must be more than comparisons = 500"),
        ('selection.strategy = "judge_disagreement"\nselection.pool = 9000', "truing select --judge FILE"),
    ],
)
def test_a_selection_that_cannot_be_made_says_what_it_lacks(tmp_path: Path, settings: str, message: str) -> None:
    with pytest.raises(TruingError, match=message):
        Recipe.load(write(tmp_path, f"[preferences]\n{settings}\n"))


def test_only_what_a_round_reads_may_change_from_round_to_round(tmp_path: Path) -> None:
    with pytest.raises(TruingError, match=r"rounds\.1: 'sft' cannot change"):
        Recipe.load(write(tmp_path, "[[rounds]]\nsft.epochs = 3\n"))


def test_paths_are_relative_to_the_recipe_and_words_stay(tmp_path: Path) -> None:
    text = '[model]\npath = "../model"\n[data]\ncomparisons = "pairs.jsonl"\ndemonstrations = "chosen"\n[start_from]\nsft = "s"\n'
    recipe = Recipe.load(write(tmp_path, text))
    assert recipe.model.path == str(tmp_path.parent / "model")
    assert recipe.data.comparisons == str(tmp_path / "pairs.jsonl")
    assert recipe.data.demonstrations == "chosen"
    assert recipe.start_from.sft == str(tmp_path / "s")


def test_the_engines_interpreter_is_relative_to_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "env" / "bin").mkdir(parents=True)
    (tmp_path / "env" / "bin" / "python").symlink_to(sys.executable)
    stages = ("preferences", "ppo", "grpo", "rloo", "redteam", "evaluate")
    engine = 'engine.vllm.python = "env/bin/python"\n'
    text = engine + "".join(f"[{stage}]\n{engine}" for stage in stages) + f"[[rounds]]\nppo.{engine}"
    recipe = Recipe.load(write(tmp_path, text))
    engines = [recipe.engine, *(getattr(recipe, stage).engine for stage in stages), recipe.for_round(1).ppo.engine]
    assert {engine.vllm.python for engine in engines} == {str(tmp_path / "env" / "bin" / "python")}


@pytest.mark.parametrize("word", ["python3.13", "none", "/opt/vllm/bin/python"])
def test_an_interpreter_on_the_path_or_with_a_whole_path_stays(tmp_path: Path, word: str) -> None:
    python = Recipe.load(write(tmp_path, f'engine.vllm.python = "{word}"\n')).engine.vllm.python
    assert python == (None if word == "none" else word)


def test_a_hub_id_stays_and_a_folder_of_that_name_wins(tmp_path: Path) -> None:
    path = write(tmp_path, '[model]\npath = "owner/name"\n')
    assert Recipe.load(path).model.path == "owner/name"
    (tmp_path / "owner" / "name").mkdir(parents=True)
    assert Recipe.load(path).model.path == str(tmp_path / "owner" / "name")


def test_overrides_win_over_rounds_or_are_for_one_round() -> None:
    recipe = Recipe.load("quickstart", ["ppo.kl.beta=0.5", "rounds.2.ppo.updates=7"])
    assert [recipe.for_round(n).ppo.kl.beta for n in (1, 2)] == [0.5, 0.5]
    assert [recipe.for_round(n).ppo.updates for n in (1, 2)] == [recipe.ppo.updates, 7]
    with pytest.raises(TruingError, match="N from 1 to 2"):
        Recipe.load("quickstart", ["rounds.3.ppo.updates=7"])


def test_a_missing_recipe_lists_the_shipped_ones() -> None:
    with pytest.raises(TruingError, match=r"shipped recipes: .*quickstart.*did you mean 'quickstart'"):
        Recipe.load("quikstart")


def test_reading_a_recipe_imports_no_torch() -> None:
    code = "import sys; from truing.program.recipe import Recipe; Recipe.load('quickstart'); sys.exit('torch' in sys.modules)"
    assert run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_chat_template_may_be_text_or_a_file(tmp_path: Path) -> None:
    recipe = Recipe.load(write(tmp_path, '[model]\nchat_template = "{{ messages }}"\n'))
    assert recipe.model.chat_template == "{{ messages }}"
    recipe = Recipe.load(write(tmp_path, '[model]\nchat_template = "chat.jinja"\n'))
    assert recipe.model.chat_template == str(tmp_path / "chat.jinja")


def test_grpo_and_rloo_are_run_where_they_are_named() -> None:
    plain = Recipe.load("quickstart")
    assert not plain.does("grpo")
    assert not plain.does("rloo")
    named = Recipe.load("quickstart", ['run.stages=["sft", "grpo", "rloo"]', 'run.candidate="rloo"', "rounds.2.grpo.kl.beta=0.5"])
    assert named.does("grpo")
    assert named.run.candidate == "rloo"
    assert named.for_round(2).grpo.kl.beta == 0.5
    assert named.for_round(1).grpo.kl.beta == 0.04
    with pytest.raises(TruingError, match="samples_per_prompt"):
        Recipe.load("quickstart", ["grpo.samples_per_prompt=1"])
