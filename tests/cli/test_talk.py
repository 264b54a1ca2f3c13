import json
from pathlib import Path

from tests.conftest import make_tokenizer
from typer.testing import CliRunner

from truing.cli import app as cli
from truing.program.plain_text import for_terminal

RUNNER = CliRunner()


def test_a_model_that_only_generate_can_run_is_sampled_from_and_said_to_be_slow(tmp_path: Path) -> None:
    from transformers import MambaConfig, MambaForCausalLM

    make_tokenizer().save_pretrained(tmp_path)
    MambaForCausalLM(MambaConfig(vocab_size=300, hidden_size=32, state_size=8, num_hidden_layers=1)).save_pretrained(tmp_path)
    arguments = ["sample", str(tmp_path), "--prompt", "hi", "--max-new-tokens", "4", "--top-k", "20", "--min-p", "0.01"]
    result = RUNNER.invoke(cli.app, arguments)
    assert result.exit_code == 0, result.stderr
    assert "generate" in result.stderr
    assert "generate" not in result.stdout


def test_sample_streams_what_json_gives_whole(tiny_model_dir: Path) -> None:
    arguments = ["sample", str(tiny_model_dir), "--prompt", "hi", "--prompt", "fox", "-n", "2", "--max-new-tokens", "12"]
    whole = json.loads(RUNNER.invoke(cli.app, [*arguments, "--json"]).stdout)
    streamed = RUNNER.invoke(cli.app, arguments).stdout
    expected = [f"> {row['prompt']}\n{for_terminal(answer)}\n\n" for row in whole for answer in row["answers"]]
    assert streamed == "".join(expected)


def test_an_impossible_cut_is_named(tiny_model_dir: Path) -> None:
    result = RUNNER.invoke(cli.app, ["sample", str(tiny_model_dir), "--prompt", "hi", "--top-p", "2"])
    assert result.exit_code == 2
    assert "'top_p'" in result.stderr
