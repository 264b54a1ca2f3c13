import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from truing.models.load import load_policy
from truing.records import Estimate
from truing.store.artifacts import Artifact, Store
from truing.train import dpo
from truing.train.config import CheckpointConfig, DPOConfig, OptimiserConfig
from truing.train.dpo import DPOInputs
from truing.train.reference import cached

from .conftest import KillAt, Killed, unhurried

CONFIG = DPOConfig(
    epochs=3,
    batch_pairs=8,
    micro_batch_tokens=200,
    optimiser=OptimiserConfig(lr=1e-3),
    checkpoint=CheckpointConfig(every_steps=3),
)


@pytest.fixture(scope="module")
def trained(tiny_model_dir: Path, preferences_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return dpo.run(CONFIG, DPOInputs(tiny_model_dir, preferences_dir), Store(tmp_path_factory.mktemp("dpo")), "dpo")


def rows(artifact: Artifact) -> list[dict[str, float]]:
    return [json.loads(line) for line in (artifact.path / "metrics.jsonl").read_text().splitlines()]


def test_it_learns_what_is_preferred(trained: Artifact) -> None:
    accuracy = trained.manifest.metrics["heldout_accuracy"]
    assert isinstance(accuracy, Estimate)
    assert accuracy.value > 0.8
    assert rows(trained)[-1]["loss"] < rows(trained)[0]["loss"]


@pytest.mark.parametrize(
    ("loss", "smoothing", "expected"),
    [("dpo", 0.0, 0.693147), ("dpo", 0.1, 0.693147), ("robust", 0.1, 0.693147), ("hinge", 0.0, 1.0), ("ipo", 0.0, 25.0)],
)
def test_the_first_step_is_at_the_reference(
    loss: str, smoothing: float, expected: float, tiny_model_dir: Path, preferences_dir: Path, tmp_path: Path
) -> None:
    config = CONFIG.with_changes(loss=loss, label_smoothing=smoothing, epochs=1, batch_pairs=64)
    first = rows(dpo.run(config, DPOInputs(tiny_model_dir, preferences_dir), Store(tmp_path), "dpo"))[0]
    assert first["loss"] == pytest.approx(expected, rel=1e-4)
    assert first["margin"] == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("reference", ["cached", "live"])
def test_the_reference_is_the_policy_as_it_starts(
    reference: str, tiny_model_dir: Path, preferences_dir: Path, tmp_path: Path
) -> None:
    """In one whole batch both are made by the same forward pass: the first step's margins are exactly zero."""
    config = CONFIG.with_changes(epochs=1, batch_pairs=24, micro_batch_tokens=100_000, reference=reference)
    first = rows(dpo.run(config, DPOInputs(tiny_model_dir, preferences_dir), Store(tmp_path), "dpo"))[0]
    assert abs(first["margin"]) < 1e-5


def test_cached_and_live_references_train_the_same(
    trained: Artifact, tiny_model_dir: Path, preferences_dir: Path, tmp_path: Path
) -> None:
    live = dpo.run(CONFIG.with_changes(reference="live"), DPOInputs(tiny_model_dir, preferences_dir), Store(tmp_path), "dpo")
    for ours, theirs in zip(rows(live), rows(trained), strict=True):
        assert [ours[name] for name in ("loss", "margin")] == pytest.approx(
            [theirs[name] for name in ("loss", "margin")], abs=1e-5
        )


def test_the_second_run_finds_the_reference(
    tiny_model_dir: Path, preferences_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, store = DPOInputs(tiny_model_dir, preferences_dir), Store(tmp_path)
    dpo.run(CONFIG, inputs, store, "first")
    (entry,) = (tmp_path / "cache" / "reference").iterdir()

    def not_again(*_: object) -> None:
        pytest.fail("the reference is on disk")

    with monkeypatch.context() as patched:
        patched.setattr(dpo, "cached", lambda folder, key, _: cached(folder, key, not_again))
        second = dpo.run(CONFIG.with_changes(beta=0.3), inputs, store, "second")
    assert second.manifest.notes == ()
    entry.write_bytes(b"harmed")
    third = dpo.run(CONFIG.with_changes(beta=0.3), inputs, store, "third")
    assert entry.name in third.manifest.notes[0]
    assert third.artifact_hash == second.artifact_hash


def test_micro_batches_do_not_change_the_first_gradient(
    trained: Artifact, tiny_model_dir: Path, preferences_dir: Path, tmp_path: Path
) -> None:
    config = CONFIG.with_changes(micro_batch_tokens=100_000)
    whole = dpo.run(config, DPOInputs(tiny_model_dir, preferences_dir), Store(tmp_path), "dpo")
    assert rows(whole)[0]["grad_norm"] == pytest.approx(rows(trained)[0]["grad_norm"], rel=1e-4)


@pytest.mark.parametrize("step", [1, 4, 8, 9])
def test_a_killed_run_resumes_to_the_same_bits(
    step: int, trained: Artifact, tiny_model_dir: Path, preferences_dir: Path, tmp_path: Path
) -> None:
    inputs, store = DPOInputs(tiny_model_dir, preferences_dir), Store(tmp_path)
    with pytest.raises(Killed):
        dpo.run(CONFIG, inputs, store, "dpo", progress=KillAt(step))
    resumed = dpo.run(CONFIG, inputs, store, "dpo", resume=True)
    assert resumed.artifact_hash == trained.artifact_hash
    assert unhurried(rows(resumed)) == unhurried(rows(trained))


@pytest.mark.parametrize("reference", ["cached", "live"])
def test_adapters_train_resume_and_leave_a_plain_model(
    reference: str, tiny_model_dir: Path, preferences_dir: Path, tmp_path: Path
) -> None:
    config = CONFIG.with_changes(load={"lora": {"rank": 4}}, reference=reference, optimiser={"lr": 1e-2})
    inputs, store = DPOInputs(tiny_model_dir, preferences_dir), Store(tmp_path)
    whole = dpo.run(config, inputs, store, "whole")
    assert rows(whole)[0]["margin"] == pytest.approx(0, abs=1e-5)
    assert rows(whole)[-1]["loss"] < rows(whole)[0]["loss"]
    with pytest.raises(Killed):
        dpo.run(config, inputs, store, "killed", progress=KillAt(4))
    (kept,) = (tmp_path / "killed.partial" / "checkpoint" / "state").glob("*/model-policy.safetensors")
    assert all("lora_" in name or "inv_freq" in name for name in load_file(kept))
    resumed = dpo.run(config, inputs, store, "killed", resume=True)
    assert resumed.artifact_hash == whole.artifact_hash
    assert (whole.path / "model" / "adapter" / "adapter_model.safetensors").exists()
    base, after = load_policy(tiny_model_dir), load_policy(whole.path)
    assert torch.equal(base.get_input_embeddings().weight, after.get_input_embeddings().weight)
    assert not torch.equal(base.base_model.layers[0].mlp.up_proj.weight, after.base_model.layers[0].mlp.up_proj.weight)


def test_the_result_is_a_model_anyone_can_load(trained: Artifact, tiny_model_dir: Path) -> None:
    before, after = load_policy(tiny_model_dir), load_policy(trained.path)
    assert not torch.equal(before.get_input_embeddings().weight, after.get_input_embeddings().weight)
