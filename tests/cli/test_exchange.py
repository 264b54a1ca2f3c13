import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from truing.cli.app import app
from truing.cli.exits import EXIT_MENDABLE

FIXTURES = Path(__file__).parents[1] / "collect" / "exchange" / "fixtures"


def truing(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments], prog_name="truing")


def test_convert_makes_a_set_and_says_what_is_in_it(tmp_path):
    done = truing("convert", FIXTURES / "pandalm.json", "--out", tmp_path / "set", "--pairs", "trl", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["metrics"]["judgments"] == 6
    assert (tmp_path / "set" / "pairs" / "trl.jsonl").exists()


def test_fields_formats_and_guidelines_are_named(tmp_path):
    guideline = tmp_path / "house.md"
    guideline.write_text("# House\n")
    options = ["--format", "label_studio", "--field", "first=text2", "--field", "second=text1", "--guideline", guideline]
    done = truing("convert", FIXTURES / "label_studio.json", "--out", tmp_path / "set", *options, "--guideline-version", "4")
    assert done.exit_code == 0, done.output
    (use,) = json.loads((tmp_path / "set" / "set.json").read_text())["guidelines"]
    assert (use["name"], use["version"]) == ("house", 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format", "pandaml"], "did you mean 'pandalm'"),
        (["--bad-rows", "ignore"], "'bad_rows'"),
        (["--pairs", "csv"], "'pairs.0'"),
        (["--field", "promt=x"], "did you mean 'prompt'"),
    ],
)
def test_what_cannot_be_meant_exits_with_2(tmp_path, options, message):
    done = truing("convert", FIXTURES / "pandalm.json", "--out", tmp_path / "set", *options)
    assert done.exit_code == EXIT_MENDABLE
    assert message in done.stderr


def test_the_service_needs_a_token_and_has_to_be_there(tmp_path, monkeypatch):
    monkeypatch.delenv("TRUING_COLLECT_TOKEN", raising=False)
    done = truing("collect", "export", "june", "--campaign", "demo", "--out", tmp_path / "set")
    assert (done.exit_code, "TRUING_COLLECT_TOKEN" in done.stderr) == (EXIT_MENDABLE, True)
