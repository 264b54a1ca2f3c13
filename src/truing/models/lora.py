"""Low-rank adapters (LoRA, Hu et al. 2021) through peft: a stage trains a few numbers beside weights that stay as they are.

The weights without their adapters are the model as it started, so the reference needs no second copy: `reference_of`. Checkpoints
hold adapters only. What a stage leaves behind is a plain model with the adapters merged in, which needs no peft to be loaded, and
the adapters themselves in peft's format in its folder `adapter/`.

A scalar head is trained whole, beside the adapters. Dropout is not offered: it would break step-0 identities and exact resume.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from truing.errors import TruingError
from truing.models.config import LoRASettings
from truing.store.files import write_json

_NAME = "default"
_HEAD = "score"


def add_adapters(model: PreTrainedModel, settings: LoRASettings, seed: int) -> None:
    """Freeze `model` and put adapters on its linear layers, in place. They add nothing yet: B is zero; `seed` draws A.

    Raises TruingError where peft is not installed, or no layer has a name asked for.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise TruingError("load.lora is set, but peft is not installed: pip install 'truing[lora]'") from None
    targets = _target_names(model, settings)
    model.requires_grad_(False)
    # peft types lora_alpha as int, and divides it by the rank as any number
    config = LoraConfig(r=settings.rank, lora_alpha=settings.alpha, target_modules=targets)  # type: ignore[arg-type]
    with torch.random.fork_rng(devices=[]):  # peft draws adapters of its own, which are drawn anew below
        inject_adapter_in_model(config, model, _NAME)
    generator = torch.Generator().manual_seed(seed)
    for layer in _adapted(model).values():
        down, up = layer.lora_A[_NAME], layer.lora_B[_NAME]
        bound = 1 / math.sqrt(down.in_features)
        with torch.no_grad():
            down.weight.copy_(torch.empty(down.weight.shape).uniform_(-bound, bound, generator=generator))
            up.weight.zero_()
        layer.to(dtype=model.dtype)
    head = getattr(model, _HEAD, None)
    if head is not None:
        head.requires_grad_(True)


def has_adapters(model: nn.Module) -> bool:
    """Whether `add_adapters` was called on it, or on what it was copied from."""
    return bool(_adapted(model))


@contextmanager
def reference_of(model: PreTrainedModel) -> Iterator[PreTrainedModel]:
    """The model as it was before its adapters, for as long as the context lasts: the adapters are off. No gradients are recorded.

    A scalar head is the trained one. A model without adapters is given back as it is.
    """
    layers = _adapted(model).values()
    for layer in layers:
        layer.enable_adapters(enabled=False)
    try:
        with torch.no_grad():
            yield model
    finally:
        for layer in layers:
            layer.enable_adapters(enabled=True)


def merged_tensors(model: PreTrainedModel) -> dict[str, Tensor]:
    """The weights of the plain model that computes the same, by the plain model's names, on the CPU.

    Sums are taken in float32 and rounded once to the weights' own precision.
    """
    adapted = _adapted(model)
    tensors: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        prefix, _, rest = name.rpartition(".base_layer.")
        if not prefix:
            if ".lora_" not in name:
                tensors[name] = tensor.detach().cpu()
        elif rest == "weight":
            layer = adapted[prefix]
            delta = layer.get_delta_weight(_NAME)
            tensors[f"{prefix}.{rest}"] = (tensor.detach().float() + delta.detach().float()).to(tensor.dtype).cpu()
        else:
            tensors[f"{prefix}.{rest}"] = tensor.detach().cpu()
    return tensors


def save_adapter(model: PreTrainedModel, folder: Path) -> None:
    """Write the adapters (and a scalar head) as peft's `PeftModel.from_pretrained(plain model, folder)` reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        "base_model.model." + name.replace(f".{_NAME}.", "."): tensor.detach().cpu().contiguous()
        for name, tensor in model.state_dict().items()
        if ".lora_" in name or name.startswith(f"{_HEAD}.")
    }
    save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
    peft_configs: Any = model.peft_config
    described = {
        **peft_configs[_NAME].to_dict(),
        "base_model_name_or_path": None,
        "inference_mode": True,
        "modules_to_save": [_HEAD] if hasattr(model, _HEAD) else None,
    }
    plain = {name: sorted(value) if isinstance(value, set) else value for name, value in described.items()}
    write_json(folder / "adapter_config.json", plain)


def _adapted(model: nn.Module) -> dict[str, Any]:
    """Layers with adapters by name."""
    return {name: module for name, module in model.named_modules() if hasattr(module, "lora_A")}


def _target_names(model: PreTrainedModel, settings: LoRASettings) -> list[str]:
    linear = {
        name.rpartition(".")[2] for name, module in model.base_model.named_modules() if isinstance(module, nn.Linear | Conv1D)
    }
    if settings.target_modules == "all-linear":
        return sorted(linear)
    unknown = sorted(set(settings.target_modules) - linear)
    if unknown or not settings.target_modules:
        names = ", ".join(unknown) or "(none named)"
        raise TruingError(
            f"load.lora.target_modules: {type(model).__name__} has no linear layers called {names}; "
            f"it has {', '.join(sorted(linear))}"
        )
    return sorted(settings.target_modules)
