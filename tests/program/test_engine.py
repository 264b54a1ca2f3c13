"""Every stage and verb that samples does so with the engine that the recipe names."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from truing.cli import app as cli
from truing.errors import TruingError
from truing.program import bench as benches
from truing.program import single
from truing.program.progress import PlainView, Watch
from truing.program.recipe import Recipe
from truing.store.artifacts import Store
from truing.store.files import read_json

FAKE = Path(__file__).parents[1] / "rollout" / "fake_vllm"
NO_ROOM = "engine.local.cache_gib=1e-9"
STAGES = {
    "preferences": {"start_from.sft": "", "data.prompts": "embedded"},
    "redteam": {"model.path": ""},
    "evaluate": {"model.path": "", "data.prompts": "embedded"},
}


def run_stage(stage: str, recipe: Path, model: Path, out: Path, *overrides: str) -> Path:
    values = {key: value or str(model) for key, value in STAGES[stage].items()}
    return single.run_stage(stage, recipe, overrides, values, out=out).path


@pytest.mark.parametrize("stage", STAGES)
def test_stages_keep_to_the_engines_memory(stage: str, tiny_recipe: Path, tiny_model_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(TruingError, match=r"more than engine\.local\.cache_gib = 1e-09"):
        run_stage(stage, tiny_recipe, tiny_model_dir, tmp_path / "out", NO_ROOM)
    own = f"{stage}.engine.local.cache_gib=1"
    run_stage(stage, tiny_recipe, tiny_model_dir, tmp_path / "own", NO_ROOM, own)


@pytest.mark.parametrize("stage", STAGES)
def test_stages_sample_with_vllm(
    stage: str, tiny_recipe: Path, tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for vLLM that does not start: it was asked, and says so."""
    monkeypatch.setenv("PYTHONPATH", str(FAKE))
    monkeypatch.setenv("TRUING_FAKE_VLLM", str(tmp_path))
    made = run_stage(stage, tiny_recipe, tiny_model_dir, tmp_path / "out", "engine.kind=vllm")
    if stage != "preferences":
        assert read_json(made / "manifest.json")["config"]["engine"]["kind"] == "vllm"
    (tmp_path / "no memory").touch()
    with pytest.raises(TruingError, match=r"vLLM did not start(.|\n)*no memory for the cache"):
        run_stage(stage, tiny_recipe, tiny_model_dir, tmp_path / "dead", "engine.kind=vllm")


def test_stages_take_the_runs_engine_where_they_name_none(tmp_path: Path) -> None:
    recipe = Recipe.from_values({}, ["engine.kind=vllm", "grpo.engine.kind=local"])
    store = Store(tmp_path)
    with Watch(store.root, PlainView(lambda _: None), planned=1) as watch:
        bench = benches.Bench(recipe, store, watch)
        assert bench.settle(recipe.ppo, "ppo").engine.kind == "vllm"
        assert bench.settle(recipe.grpo, "grpo").engine.kind == "local"
        assert bench.complete(recipe.preferences).engine.kind == "vllm"
        assert bench.settle_measuring(recipe.evaluate, "evaluate").engine.kind == "vllm"


@pytest.mark.parametrize("verb", ["sample", "chat"])
def test_verbs_that_let_a_model_speak_do_too(
    verb: str, tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(FAKE))
    monkeypatch.setenv("TRUING_FAKE_VLLM", str(tmp_path))
    arguments = [verb, str(tiny_model_dir), "--max-new-tokens", "4", *(["--prompt", "hi"] if verb == "sample" else [])]
    no_room = CliRunner().invoke(cli.app, [*arguments, "--set", NO_ROOM], input="hi\n")
    assert (no_room.exit_code, "engine.local.cache_gib" in no_room.stderr) == (2, True)
    spoken = CliRunner().invoke(cli.app, [*arguments, "--set", "engine.kind=vllm"], input="hi\n")
    assert spoken.exit_code == 0, spoken.stderr
    (tmp_path / "no memory").touch()
    silent = CliRunner().invoke(cli.app, [*arguments, "--set", "engine.kind=vllm"], input="hi\n")
    assert (silent.exit_code, "no memory for the cache" in silent.stderr) == (2, True)
