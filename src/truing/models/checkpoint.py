"""Training state that a killed run goes on from, bit for bit: weights, optimisers, generators, and what the loop counts.

Two folders take turns; `current.json` names the whole one and is replaced last, so a kill at any moment leaves a good state.
Tensors are safetensors, the rest JSON: nothing is unpickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import JsonValue
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from truing.errors import TruingError
from truing.models.durable import durable_folder
from truing.store.files import read_json, write_json

_POINTER = "current.json"


def has_training_state(directory: Path) -> bool:
    """Whether a whole state is there to go on from."""
    return (directory / _POINTER).exists()


def save_training_state(
    directory: Path,
    *,
    models: Mapping[str, nn.Module],
    optimisers: Mapping[str, torch.optim.Optimizer],
    extra: Mapping[str, JsonValue],
    generators: Mapping[str, torch.Generator] | None = None,
) -> None:
    """Write everything under `directory`. Only trainable tensors and buffers of `models` are kept, shared ones once.

    Raises TruingError where the disk is full (the state before stays), ValueError where `extra` holds NaN.
    """
    target = "b" if has_training_state(directory) and read_json(directory / _POINTER)["folder"] == "a" else "a"
    groups: dict[str, JsonValue] = {}
    with durable_folder(directory / target) as folder:
        for name, model in models.items():
            save_file(_model_tensors(model), folder / f"model-{name}.safetensors")
        for name, optimiser in optimisers.items():
            tensors, groups[name] = _optimiser_state(optimiser)
            save_file(tensors, folder / f"optimiser-{name}.safetensors")
        save_file({name: g.get_state() for name, g in (generators or {}).items()}, folder / "generators.safetensors")
        write_json(folder / "state.json", {"extra": dict(extra), "param_groups": groups})
    write_json(directory / _POINTER, {"folder": target})


def load_training_state(
    directory: Path,
    *,
    models: Mapping[str, nn.Module],
    optimisers: Mapping[str, torch.optim.Optimizer],
    generators: Mapping[str, torch.Generator] | None = None,
) -> dict[str, JsonValue]:
    """Put the saved state into the given objects and return `extra`. Raises TruingError where it is missing or unreadable."""
    if not has_training_state(directory):
        raise TruingError(f"{directory}: no checkpoint to resume from; start without --resume")
    folder = directory / read_json(directory / _POINTER)["folder"]
    state = read_json(folder / "state.json")
    for name, model in models.items():
        _restore_model(model, _read(folder / f"model-{name}.safetensors"))
    for name, optimiser in optimisers.items():
        _restore_optimiser(optimiser, _read(folder / f"optimiser-{name}.safetensors"), state["param_groups"][name])
    saved = _read(folder / "generators.safetensors")
    for name, generator in (generators or {}).items():
        generator.set_state(saved[name])
    extra: dict[str, JsonValue] = state["extra"]
    return extra


def _model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Trainable parameters, and buffers, by name; a tensor shared by two modules appears under its first name."""
    trainable = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    return {name: tensor.detach().contiguous() for name, tensor in {**trainable, **dict(model.named_buffers())}.items()}


def _restore_model(model: nn.Module, saved: Mapping[str, Tensor]) -> None:
    current = _model_tensors(model)
    if current.keys() != saved.keys():
        raise TruingError(f"the checkpoint belongs to another model: {sorted(current.keys() ^ saved.keys())[:3]} do not match")
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    with torch.no_grad():
        for name, tensor in saved.items():
            named[name].copy_(tensor)


def _optimiser_state(optimiser: torch.optim.Optimizer) -> tuple[dict[str, Tensor], JsonValue]:
    state = optimiser.state_dict()
    tensors = {
        f"{index}/{key}": value.detach().contiguous() if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)
        for index, values in state["state"].items()
        for key, value in values.items()
    }
    return tensors, state["param_groups"]


def _restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor], groups: list[dict[str, Any]]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, key = name.split("/", 1)
        state.setdefault(int(index), {})[key] = tensor
    for group in groups:
        group.update({key: tuple(value) for key, value in group.items() if key == "betas"})
    optimiser.load_state_dict({"state": state, "param_groups": groups})


def _read(path: Path) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (FileNotFoundError, SafetensorError) as error:
        raise TruingError(
            f"{path}: the checkpoint cannot be read ({error}); remove its folder and start without --resume"
        ) from error
    return tensors
