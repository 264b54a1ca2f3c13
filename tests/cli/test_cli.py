import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from truing.cli import app as cli

RUNNER = CliRunner()


def truing(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "truing", *arguments], capture_output=True, text=True, check=False)


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom truing.cli import main\nsys.argv = ['truing', '--help']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = {'torch', 'transformers', 'numpy', 'scipy', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "quickstart" in done.stdout


@pytest.mark.parametrize("verb", [name for name, _ in cli.VERBS])
def test_every_verb_explains_itself(verb: str) -> None:
    result = RUNNER.invoke(cli.app, [verb, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_an_error_the_user_can_mend_is_one_message_and_exit_2(tmp_path: Path) -> None:
    result = truing("status", str(tmp_path))
    assert result.returncode == 2
    assert result.stderr == f"truing: {tmp_path}: no run has written here (there is no progress.json)\n"
    assert result.stdout == ""


def test_an_unknown_recipe_key_names_the_nearest(tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text("[ppo.kl]\nbetta = 1\n")
    result = truing("run", str(recipe), "--out", str(tmp_path / "out"))
    assert result.returncode == 2
    assert "did you mean 'beta'" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_misspelt_setting_on_the_command_line_is_named() -> None:
    result = truing("quickstart", "--set", "ppo.updatess=3")
    assert result.returncode == 2
    assert "did you mean 'updates'" in result.stderr
