"""The reference cache: found again, never wrong, never half an entry."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from truing.models.load import load_policy
from truing.train.examples import Example
from truing.train.reference import LiveReference, cached, reference_key

EXAMPLES = [Example([5, 6, 7, 8], [False, False, True, True]), Example([5, 6, 9], [False, False, True])]
VALUES = torch.tensor([[-1.5, -2.25], [-0.125, 3e-8]])


class Computed:
    """Says how often it was asked."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> torch.Tensor:
        self.times += 1
        return VALUES.clone()


@pytest.fixture(scope="module")
def model(tiny_model_dir: Path):
    return load_policy(tiny_model_dir)


def test_an_entry_is_computed_once_and_found_to_the_bit(tmp_path: Path) -> None:
    compute = Computed()
    first = cached(tmp_path / "cache", "a", compute)
    second = cached(tmp_path / "cache", "a", compute)
    assert compute.times == 1
    assert first.notice is second.notice is None
    assert torch.equal(first.values, second.values)
    cached(tmp_path / "cache", "b", compute)
    assert compute.times == 2


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def other_contents(path: Path) -> None:
    save_file({"values": VALUES}, path)


@pytest.mark.parametrize("harm", [cut, flip, empty, other_contents])
def test_an_entry_that_was_harmed_is_made_again_and_said_so(harm, tmp_path: Path) -> None:
    compute = Computed()
    cached(tmp_path, "a", compute)
    harm(tmp_path / "a.safetensors")
    again = cached(tmp_path, "a", compute)
    assert compute.times == 2
    assert again.notice is not None
    assert "a.safetensors" in again.notice
    assert torch.equal(again.values, VALUES)
    assert cached(tmp_path, "a", compute).notice is None
    assert compute.times == 2


def test_a_kill_while_writing_leaves_no_entry(tmp_path: Path, monkeypatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("truing.models.durable._fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        cached(tmp_path, "a", Computed())
    assert not (tmp_path / "a.safetensors").exists()
    monkeypatch.undo()
    assert torch.equal(cached(tmp_path, "a", Computed()).values, VALUES)


def test_the_key_is_of_everything_the_numbers_depend_on(model) -> None:
    def moved():
        other = copy.deepcopy(model)
        with torch.no_grad():
            other.get_input_embeddings().weight[3, 2] += 1e-6
        return other

    def longer_waves():
        other = copy.deepcopy(model)
        other.config.rms_norm_eps = 1e-3
        return other

    shifted = [Example([5, 6, 7], [False, False, True]), Example([8, 5, 6, 9], [True, False, False, True])]
    other_mask = [EXAMPLES[0], Example([5, 6, 9], [False, True, False])]
    keys = [
        reference_key(model, EXAMPLES, temperature=1.0),
        reference_key(model, EXAMPLES, temperature=0.7),
        reference_key(moved(), EXAMPLES, temperature=1.0),
        reference_key(copy.deepcopy(model).bfloat16(), EXAMPLES, temperature=1.0),
        reference_key(longer_waves(), EXAMPLES, temperature=1.0),
        reference_key(model, EXAMPLES[::-1], temperature=1.0),
        reference_key(model, shifted, temperature=1.0),
        reference_key(model, other_mask, temperature=1.0),
    ]
    assert len(set(keys)) == len(keys)
    assert reference_key(copy.deepcopy(model), list(EXAMPLES), temperature=1.0) == keys[0]


def test_where_a_model_lies_is_not_part_of_the_key(model, tiny_model_dir: Path, tmp_path: Path) -> None:
    for file in tiny_model_dir.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert reference_key(load_policy(tmp_path), EXAMPLES) == reference_key(model, EXAMPLES)


def test_a_live_reference_stays_while_the_model_moves(model) -> None:
    policy = copy.deepcopy(model)
    live = LiveReference(policy)
    with torch.no_grad():
        policy.get_input_embeddings().weight.zero_()
    with live.model() as reference:
        assert not torch.is_grad_enabled()
        assert torch.equal(reference.get_input_embeddings().weight, model.get_input_embeddings().weight)
        assert not any(weight.requires_grad for weight in reference.parameters())
