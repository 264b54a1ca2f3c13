"""What a user can get wrong ends with one message, exit 2 (130 for Ctrl-C) and no traceback; nothing finished is lost."""

import errno
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from truing.cli import app as cli
from truing.program import progress as watching
from truing.store.artifacts import Store

RUNNER = CliRunner()
SMALL = ["--set", "sft.epochs=1", "--set", "sft.batch_tokens=512", "--set", "sft.heldout_fraction=0.2", "--set", "run.threads=1"]


def refused(*arguments: str) -> str:
    """Run a verb in this process; it must end with exit 2. Returns what it said."""
    result = RUNNER.invoke(cli.app, list(arguments))
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    said = result.stderr.strip().splitlines()
    assert said[-1].startswith("truing: ") or any(line.startswith("truing: ") for line in said)
    return result.stderr


@pytest.fixture
def demonstrations(tmp_path: Path) -> Path:
    path = tmp_path / "demonstrations.jsonl"
    rows = [
        [{"role": "user", "content": f"how many is {i}?"}, {"role": "assistant", "content": f"it is {i}."}] for i in range(20)
    ]
    path.write_text("".join(json.dumps({"messages": turns}) + "\n" for turns in rows))
    return path


def sft(model: Path | str, demonstrations: Path, out: Path) -> list[str]:
    return ["sft", "--model", str(model), "--demonstrations", str(demonstrations), "--out", str(out), *SMALL]


def test_a_missing_model_directory(demonstrations: Path, tmp_path: Path) -> None:
    assert "no such model folder" in refused(*sft(tmp_path / "nothing", demonstrations, tmp_path / "out"))


def test_a_corrupt_model_directory(tiny_model_dir: Path, demonstrations: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in tiny_model_dir.iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert "model.safetensors" in refused(*sft(broken, demonstrations, tmp_path / "out"))


def test_a_tokenizer_without_a_chat_template(tiny_model_dir: Path, demonstrations: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for path in tiny_model_dir.iterdir():
        if path.name != "chat_template.jinja":
            (bare / path.name).write_bytes(path.read_bytes())
    assert "chat template" in refused(*sft(bare, demonstrations, tmp_path / "out"))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("", "holds no rows"),
        ('{"prompt": "q", "chosen": "a"\n', "comparisons.jsonl:1: not valid JSON"),
        (
            '{"prompt": "q", "chosen": "a", "rejected": "b"}\n{"prompt": "q", "chosen": "a"}\n',
            "comparisons.jsonl:2: field 'rejected'",
        ),
        ('{"prompt": "q", "chosen": "a", "rejected": "a"}\n', "same as chosen"),
    ],
)
def test_malformed_empty_and_one_sided_preferences(rows: str, said: str, tiny_model_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "comparisons.jsonl"
    path.write_text(rows)
    out = ["--out", str(tmp_path / "out")]
    assert said in refused("reward", "--model", str(tiny_model_dir), "--comparisons", str(path), *out)


def test_a_prompt_longer_than_the_context(tiny_model_dir: Path) -> None:
    said = refused("sample", str(tiny_model_dir), "--prompt", "fox " * 300)
    assert "context of 128" in said


def test_a_stage_without_its_input_names_the_flag(tiny_model_dir: Path, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "out")]
    assert "--comparisons" in refused("dpo", "--model", str(tiny_model_dir), *out)
    for verb in ("ppo", "grpo", "rloo"):
        assert "--reward" in refused(verb, "--model", str(tiny_model_dir), *out)
    assert "--model" in refused("sft", *out)


def test_a_loss_that_is_not_a_number(tiny_model_dir: Path, demonstrations: Path, tmp_path: Path) -> None:
    settings = ["--set", "sft.optimiser.lr=1e30", "--set", "sft.optimiser.max_grad_norm=1e30", "--set", "sft.epochs=8"]
    said = refused(*sft(tiny_model_dir, demonstrations, tmp_path / "out"), *settings)
    assert "lr" in said


def test_two_runs_in_one_directory(tiny_model_dir: Path, demonstrations: Path, tmp_path: Path) -> None:
    lock = Store(tmp_path / "out").lock()
    try:
        assert "another run" in refused(*sft(tiny_model_dir, demonstrations, tmp_path / "out"))
    finally:
        lock.release()


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 2, "the disk is full"),
        (PermissionError(errno.EACCES, "Permission denied"), 2, "Choose a folder you may write to"),
        (KeyboardInterrupt(), 130, "--resume"),
    ],
)
def test_a_full_disk_a_locked_folder_and_ctrl_c(
    error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("truing.program.status.read_status", _raising(error))
    result = RUNNER.invoke(cli.app, ["status", str(tmp_path)])
    assert result.exit_code == code
    assert said in result.stderr


def test_a_bug_is_not_dressed_up_as_the_users_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("truing.program.status.read_status", _raising(ZeroDivisionError()))
    assert isinstance(RUNNER.invoke(cli.app, ["status", str(tmp_path)]).exception, ZeroDivisionError)


def _raising(error: BaseException) -> Callable[[Path], None]:
    def fail(_: Path) -> None:
        raise error

    return fail


def test_ctrl_c_in_the_middle_of_a_stage_and_then_resume(tiny_model_dir: Path, demonstrations: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = [*sft(tiny_model_dir, demonstrations, out), "--set", "sft.epochs=4000"]
    with subprocess.Popen([sys.executable, "-m", "truing", *arguments], stderr=subprocess.PIPE, text=True) as process:
        try:
            _wait_for_progress(out / watching.PROGRESS_FILE)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130, said
    assert "--resume" in said
    assert "Traceback" not in said
    assert (out / "sft.partial").is_dir()
    assert json.loads((out / watching.PROGRESS_FILE).read_text())["state"] == "interrupted"
    without = RUNNER.invoke(cli.app, arguments)
    assert "Pass --resume" in without.stderr


def _wait_for_progress(path: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if path.exists() and any(stage["done"] for stage in json.loads(path.read_text())["stages"]):
            return
        time.sleep(0.2)
    raise AssertionError("the stage reported nothing in 90 seconds")


def test_json_goes_to_stdout_alone(tiny_model_dir: Path, demonstrations: Path, tmp_path: Path) -> None:
    result = RUNNER.invoke(cli.app, [*sft(tiny_model_dir, demonstrations, tmp_path / "out"), "--json"])
    assert result.exit_code == 0, result.stderr
    manifest = json.loads(result.stdout)
    assert manifest["stage"] == "sft"
    assert "sft" in result.stderr


def test_sample_shows_no_control_characters(tiny_model_dir: Path) -> None:
    arguments = [
        "sample",
        str(tiny_model_dir),
        "--prompt",
        "hi\x1b[2J",
        "-n",
        "3",
        "--max-new-tokens",
        "16",
        "--temperature",
        "5",
    ]
    result = RUNNER.invoke(cli.app, arguments)
    assert result.exit_code == 0, result.stderr
    assert "\x1b" not in result.stdout


def test_chat_keeps_the_conversation_and_ends_on_an_empty_line(tiny_model_dir: Path) -> None:
    arguments = ["chat", str(tiny_model_dir), "--max-new-tokens", "4"]
    result = RUNNER.invoke(cli.app, arguments, input="hi\nthere\n\n")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.count("> ") == 3
