"""What the reference says of fixed texts: computed once and kept on disk under the hash of everything it depends on, or live.

A cached entry is found again by any run with the same model, texts and batching (`cache/reference/` in the run's folder), be it
resumed, killed, or one of many that differ in loss, beta or learning rate. Batching is part of the hash because the last bits of
a sum depend on it, and the same run must give the same bits whoever filled the cache.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from pydantic import JsonValue
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import PreTrainedModel

from truing.models.durable import save_tensors
from truing.models.lora import has_adapters, reference_of
from truing.records import content_hash
from truing.train.examples import Example

REFERENCE_CACHE = "cache/reference"
"""Where entries lie under a store's root."""
_FORMAT = 1
"""Of the files and of what they hold: raise it when the code that computes log-probabilities changes what it computes."""
_VALUES = "values"
_BESIDE_THE_POINT = ("_name_or_path", "transformers_version", "dtype", "torch_dtype")


class Cached(NamedTuple):
    """What was computed or found, and a line on what was wrong with an entry that had to be made again."""

    values: Tensor
    notice: str | None


def cached(folder: Path, key: str, compute: Callable[[], Tensor]) -> Cached:
    """The tensor kept in `folder` under `key`, or `compute()`, kept from now on. An entry that cannot be read is made again."""
    path = folder / f"{key}.safetensors"
    problem = None
    if path.exists():
        try:
            return Cached(_read(path), None)
        except (OSError, SafetensorError, ValueError) as error:
            problem = f"{path.name}: this entry of the reference cache could not be read ({error}) and was computed again"
    values = compute()
    save_tensors(path, {_VALUES: values}, {"sha256": _sha256(values)})
    return Cached(values, problem)


def reference_key(model: PreTrainedModel, examples: Iterable[Example], **settings: JsonValue) -> str:
    """sha256 (hex) of weights, configuration, precision and device, of tokens and which of them count, and of `settings`."""
    config = {name: repr(value) for name, value in model.config.to_dict().items() if name not in _BESIDE_THE_POINT}
    described = {"format": _FORMAT, "config": config, "device": model.device.type, **settings}
    digest = hashlib.sha256(content_hash(described).encode())
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(_bytes(tensor))
    for example in examples:
        digest.update(np.int64(len(example.tokens)).tobytes())
        digest.update(np.asarray(example.tokens, dtype=np.int64).tobytes())
        digest.update(np.asarray(example.is_trained, dtype=np.bool_).tobytes())
    return digest.hexdigest()


class LiveReference:
    """The model as it now is, kept while the model itself moves on: a frozen copy, or the model itself without its adapters."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._frozen = model if has_adapters(model) else copy.deepcopy(model).eval().requires_grad_(False)

    @contextmanager
    def model(self) -> Iterator[PreTrainedModel]:
        """The reference, without gradients."""
        with reference_of(self._frozen) as reference:
            yield reference


def _read(path: Path) -> Tensor:
    with safe_open(path, framework="pt") as file:
        values: Tensor = file.get_tensor(_VALUES)
        if (file.metadata() or {}).get("sha256") != _sha256(values):
            raise ValueError("its contents are not what was written")
    return values


def _sha256(values: Tensor) -> str:
    return hashlib.sha256(_bytes(values)).hexdigest()


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
