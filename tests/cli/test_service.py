import json

import pytest
from typer.testing import CliRunner

from truing.cli.app import app
from truing.collect.database import open_database
from truing.collect.schema import slot
from truing.records import Prompt

runner = CliRunner()


def test_a_campaign_from_a_file_and_a_backup_of_it(tmp_path):
    settings = tmp_path / "june.toml"
    settings.write_text('name = "june"\npreset = "llama2"\noverlap = 2\n')
    row = {"external_id": "a", "prompt": Prompt.from_text("q?").model_dump(mode="json"), "responses": ["x", "y"]}
    (tmp_path / "items.jsonl").write_text(json.dumps(row) + "\n")
    folder = ["--folder", str(tmp_path / "service")]
    made = runner.invoke(app, ["collect", "campaign", str(settings), "--items", str(tmp_path / "items.jsonl"), *folder])
    assert (made.exit_code, made.stdout) == (0, "campaign 1 (june): 1 items, 2 judgments each\n")
    assert "holds no service yet" in made.stderr
    kept = runner.invoke(app, ["collect", "backup", str(tmp_path / "kept.sqlite"), *folder])
    assert kept.exit_code == 0
    opened = open_database(tmp_path / "kept.sqlite")
    with opened.read() as connection:
        assert len(connection.execute(slot.select()).all()) == 2
    opened.close()


def test_a_mistake_in_the_file_is_told_in_a_line(tmp_path):
    settings = tmp_path / "june.toml"
    settings.write_text('name = "june"\noverlop = 2\n')
    refused = runner.invoke(app, ["collect", "campaign", str(settings), "--folder", str(tmp_path)])
    assert refused.exit_code == 2
    assert "did you mean 'overlap'" in refused.stderr


def test_a_guideline_that_is_not_there_is_told_in_a_line(tmp_path):
    settings = tmp_path / "june.toml"
    settings.write_text('name = "june"\nguideline = "main"\n')
    lost = ["--guideline", str(tmp_path / "lost.md"), "--folder", str(tmp_path / "service")]
    refused = runner.invoke(app, ["collect", "campaign", str(settings), *lost])
    assert (refused.exit_code, "lost.md: no such file" in refused.stderr) == (2, True)
    assert not (tmp_path / "service").exists()
    refused = runner.invoke(app, ["collect", "campaign", str(tmp_path)])
    assert (refused.exit_code, "is a folder" in refused.stderr) == (2, True)


def test_the_schema_does_not_go_down_under_a_service_that_runs(tmp_path):
    opened = open_database(tmp_path / "collect.sqlite")
    down = ["collect", "migrate", "down", "--folder", str(tmp_path)]
    refused = runner.invoke(app, down)
    assert (refused.exit_code, "in use. Stop the service" in refused.stderr) == (2, True)
    opened.close()
    assert runner.invoke(app, down).exit_code == 0


@pytest.mark.parametrize(("way", "to"), [("up", "nonsense"), ("down", "0012")])
def test_a_revision_that_there_is_no_way_to_is_said_with_those_that_there_are(tmp_path, way, to):
    folder = ["--folder", str(tmp_path)]
    runner.invoke(app, ["collect", "migrate", "up", "--to", "0002", *folder])
    refused = runner.invoke(app, ["collect", "migrate", way, "--to", to, *folder])
    assert refused.exit_code == 2
    assert "The schema is at 0002; revisions, oldest first: 0001, 0002, " in refused.stderr


def test_migrating_down_and_up(tmp_path):
    folder = ["--folder", str(tmp_path)]
    assert runner.invoke(app, ["collect", "migrate", "up", *folder]).output.startswith("schema empty -> 00")
    down = runner.invoke(app, ["collect", "migrate", "down", "--to", "base", *folder])
    assert down.output.endswith("-> empty\n")
