import json
from pathlib import Path

import pytest

from truing.errors import TruingError
from truing.models.load import load_policy
from truing.records import Demonstration, Estimate, Message
from truing.store.artifacts import Artifact, Store
from truing.store.files import write_records
from truing.train import sft
from truing.train.config import CheckpointConfig, OptimiserConfig, SFTConfig
from truing.train.sft import SFTInputs

from .conftest import KillAt, Killed, unhurried

CONFIG = SFTConfig(
    epochs=2,
    batch_tokens=200,
    micro_batch_tokens=100,
    heldout_fraction=0.2,
    optimiser=OptimiserConfig(lr=1e-2),
    checkpoint=CheckpointConfig(every_steps=3),
)


def rows(artifact: Artifact) -> list[dict[str, float]]:
    return [json.loads(line) for line in (artifact.path / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def trained(tiny_model_dir: Path, demonstrations: list[Demonstration], tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return sft.run(CONFIG, SFTInputs(tiny_model_dir, demonstrations), Store(tmp_path_factory.mktemp("sft")), "sft")


def test_heldout_loss_falls_and_both_are_logged(trained: Artifact) -> None:
    before, after = trained.manifest.metrics["heldout_loss_before"], trained.manifest.metrics["heldout_loss"]
    assert isinstance(before, Estimate)
    assert isinstance(after, Estimate)
    assert after.high < before.low
    assert rows(trained)[0] == {"step": 0, "heldout_loss": before.value}
    assert rows(trained)[-1]["heldout_loss"] == after.value


def test_a_file_gives_the_same_model_as_the_records(
    trained: Artifact, tiny_model_dir: Path, demonstrations: list[Demonstration], tmp_path: Path
) -> None:
    write_records(tmp_path / "demonstrations.jsonl", demonstrations)
    inputs = SFTInputs(tiny_model_dir, tmp_path / "demonstrations.jsonl")
    other = sft.run(CONFIG, inputs, Store(tmp_path / "out"), "sft")
    assert [f for f in other.manifest.files if "model/" in f.path] == [f for f in trained.manifest.files if "model/" in f.path]


def test_micro_batches_do_not_change_the_gradient(
    trained: Artifact, tiny_model_dir: Path, demonstrations: list[Demonstration], tmp_path: Path
) -> None:
    config = CONFIG.with_changes(micro_batch_tokens=10_000)
    whole = sft.run(config, SFTInputs(tiny_model_dir, demonstrations), Store(tmp_path), "sft")
    for name in ("loss", "grad_norm"):
        assert rows(whole)[1][name] == pytest.approx(rows(trained)[1][name], rel=1e-5)


@pytest.mark.parametrize("step", [1, 4, 6, -1])
def test_a_killed_run_resumes_to_the_same_bits(
    step: int, trained: Artifact, tiny_model_dir: Path, demonstrations: list[Demonstration], tmp_path: Path
) -> None:
    inputs, store = SFTInputs(tiny_model_dir, demonstrations), Store(tmp_path)
    last_step = len(rows(trained)) - 2
    with pytest.raises(Killed):
        sft.run(CONFIG, inputs, store, "sft", progress=KillAt(step if step > 0 else last_step))
    with pytest.raises(TruingError, match="--resume"):
        sft.run(CONFIG, inputs, store, "sft")
    resumed = sft.run(CONFIG, inputs, store, "sft", resume=True)
    assert resumed.artifact_hash == trained.artifact_hash
    assert unhurried(rows(resumed)) == unhurried(rows(trained))


def test_a_loss_that_is_not_finite_keeps_the_checkpoint(
    tiny_model_dir: Path, demonstrations: list[Demonstration], tmp_path: Path
) -> None:
    config = CONFIG.with_changes(optimiser={"lr": 1e30, "warmup_fraction": 0})
    with pytest.raises(TruingError, match=r"sft, step \d+ of \d+: the loss is .*checkpoint is kept.*optimiser\.lr"):
        sft.run(config, SFTInputs(tiny_model_dir, demonstrations), Store(tmp_path), "sft")
    assert (tmp_path / "sft.partial" / "checkpoint" / "current.json").exists()


def test_the_model_is_loadable_and_a_done_run_is_returned(
    trained: Artifact, tiny_model_dir: Path, demonstrations: list[Demonstration]
) -> None:
    load_policy(trained.path)
    again = sft.run(CONFIG, SFTInputs(tiny_model_dir, demonstrations), Store(trained.path.parent), "sft")
    assert again.artifact_hash == trained.artifact_hash


def test_conversations_that_are_too_long_are_named(
    tiny_model_dir: Path, demonstrations: list[Demonstration], tmp_path: Path
) -> None:
    config = CONFIG.with_changes(max_tokens=10)
    with pytest.raises(TruingError, match="too_long"):
        sft.run(config, SFTInputs(tiny_model_dir, demonstrations), Store(tmp_path / "a"), "sft")


def test_too_few_to_hold_out_says_what_to_do(tiny_model_dir: Path, demonstrations: list[Demonstration], tmp_path: Path) -> None:
    config = CONFIG.with_changes(heldout_fraction=0.05)
    with pytest.raises(TruingError, match=r"holds out 1.*sft\.heldout_fraction"):
        sft.run(config, SFTInputs(tiny_model_dir, demonstrations), Store(tmp_path), "sft")


def test_a_shared_system_turn_does_not_keep_conversations_together(
    tiny_model_dir: Path, demonstrations: list[Demonstration], tmp_path: Path
) -> None:
    system = Message(role="system", content="be brief.")
    rows = [Demonstration(messages=(system, *d.messages)) for d in demonstrations]
    sft.run(CONFIG.with_changes(epochs=1), SFTInputs(tiny_model_dir, rows), Store(tmp_path), "sft")
