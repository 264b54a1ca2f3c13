"""Load and save Hugging Face models: policies with a language-model head, scorers with one scalar output.

Weights are read from and written to safetensors only; pickled weights are refused.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from truing.errors import TruingError
from truing.models import products, segments
from truing.models.attention import ATTENTION, BLOCK_ATTENTION, FLEX_ATTENTION, SEGMENT_ATTENTION
from truing.models.blocks import is_faster_in_blocks
from truing.models.config import Attention, HeadInit, LoadSettings, Products
from truing.models.durable import durable_folder
from truing.models.gated import fuse_gates
from truing.models.lora import has_adapters, merged_tensors, save_adapter
from truing.models.norms import fuse_norms
from truing.models.probe import require_ragged
from truing.models.products import FastLinear, OneDnnLinear, WidenedLinear, is_faster_by_onednn, multiplies_bfloat16, multiply_by
from truing.models.rotary import fuse_rotary
from truing.models.unread import skip_unread

_ATTENTION_OF_DEVICE: dict[str, Attention] = {"cuda": "flex", "cpu": "segments"}
"""Where it is left to Truing; "rectangles" on others."""
_ATTENTION_NAMES = {
    "segments": SEGMENT_ATTENTION,
    "blocks": BLOCK_ATTENTION,
    "rectangles": ATTENTION,
    "flex": FLEX_ATTENTION,
}
_LAYERS_OF_PRODUCTS: dict[Products, type[FastLinear]] = {"onednn": OneDnnLinear, "widened": WidenedLinear}
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def model_directory(path: str | Path) -> str:
    """Where the model files are: `path` itself, its `model/` folder (an artifact), or a hub id handed on as it is.

    Raises TruingError where a folder holds no config.json, or nothing is there and the text cannot be a hub id.
    """
    folder = Path(path)
    if folder.is_file():
        raise TruingError(f"{path}: is a file; name the model's folder")
    if folder.is_dir():
        for candidate in (folder, folder / "model"):
            if (candidate / "config.json").is_file():
                return str(candidate)
        raise TruingError(f"{path}: not a model folder: it holds no config.json, and neither does a folder 'model' in it")
    if folder.is_absolute() or str(path).startswith(".") or not _HUB_ID.fullmatch(str(path)):
        raise TruingError(f"{path}: no such model folder")
    return str(path)


def choose_device(settings: LoadSettings) -> torch.device:
    """The device that settings ask for. Raises TruingError where it is not there."""
    if settings.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(settings.device)
    except RuntimeError:
        raise TruingError(f"device '{settings.device}': not a torch device; use auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise TruingError(f'device \'{settings.device}\': this machine shows no CUDA device; use device = "cpu" or "auto"')
    return device


def choose_dtype(settings: LoadSettings, device: torch.device) -> torch.dtype:
    """bfloat16 on cuda and float32 elsewhere, unless settings say otherwise."""
    if settings.dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    dtype: torch.dtype = getattr(torch, settings.dtype)
    return dtype


def choose_attention(settings: LoadSettings, device: torch.device) -> str:
    """The name under which transformers finds the attention that settings ask for. Raises TruingError where it cannot train."""
    way = settings.attention
    is_bfloat16 = choose_dtype(settings, device) == torch.bfloat16
    if way == "auto":
        way = _ATTENTION_OF_DEVICE.get(device.type, "rectangles")
        if way == "segments" and is_bfloat16 and is_faster_in_blocks():
            way = "blocks"
    elif way == "flex" and device.type == "cpu":
        raise TruingError('attention = "flex": FlexAttention has no backward pass on a CPU; use "segments" or "auto"')
    elif way in ("segments", "blocks") and device.type != "cpu":
        raise TruingError(f'attention = "{way}": runs on a CPU, not on {device}; use "rectangles" or "auto"')
    elif way == "blocks" and not is_bfloat16:
        raise TruingError('attention = "blocks": multiplies in bfloat16; set dtype = "bfloat16", or use "segments" or "auto"')
    if way == "segments":
        segments.kernel()  # where torch lacks it, that is said now
    return _ATTENTION_NAMES[way]


def choose_products(settings: LoadSettings, device: torch.device) -> Products:
    """What multiplies matrices, never "auto". Raises TruingError where it cannot."""
    way = settings.products
    is_bfloat16 = choose_dtype(settings, device) == torch.bfloat16
    if way == "auto":
        if device.type != "cpu":
            return "torch"
        if is_bfloat16 and not multiplies_bfloat16():
            return "widened"
        return "onednn" if is_faster_by_onednn() else "torch"
    if way != "torch" and device.type != "cpu":
        raise TruingError(f'products = "{way}": multiplies on a CPU, not on {device}; use "torch" or "auto"')
    if way == "widened" and not is_bfloat16:
        raise TruingError('products = "widened": multiplies bfloat16 in float32; set dtype = "bfloat16", or use "auto"')
    if way == "onednn":
        products.kernel()  # where torch lacks it, that is said now
        if is_bfloat16 and not multiplies_bfloat16():
            raise TruingError('products = "onednn": it has no kernels for bfloat16 on this processor; use "widened" or "auto"')
    return way


def load_tokenizer(
    path: str | Path, chat_template: str | None = None, *, trust_remote_code: bool = False
) -> PreTrainedTokenizerBase:
    """Read a tokenizer; `chat_template` (Jinja text) replaces its own. Raises TruingError naming what is missing."""
    where = model_directory(path)
    with _quiet(), _explained(where, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(where, trust_remote_code=trust_remote_code)
    if chat_template is not None:
        tokenizer.chat_template = chat_template
    return tokenizer


def load_policy(path: str | Path, settings: LoadSettings | None = None) -> PreTrainedModel:
    """Read a causal language model, in eval mode, ready for ragged batches.

    Raises TruingError for a missing or corrupt folder, missing weights, or an architecture whose packed sequences would mix.
    """
    settings = settings or LoadSettings()
    return _load(AutoModelForCausalLM, path, settings, may_lack=())


class SamplingModel(NamedTuple):
    """A policy to sample from, and why it cannot run unpadded batches, where it cannot."""

    model: PreTrainedModel
    not_ragged: str | None


def load_to_sample(path: str | Path, settings: LoadSettings | None = None) -> SamplingModel:
    """As `load_policy`, of any causal language model: one that cannot run unpadded batches gets its own attention back."""
    settings = settings or LoadSettings()
    policy = _read(AutoModelForCausalLM, path, settings, may_lack=())
    try:
        require_ragged(policy, str(path))
    except TruingError as error:
        policy.set_attn_implementation("eager")  # the one that every architecture has, and has right
        return SamplingModel(policy, str(error))
    return SamplingModel(policy, None)


def load_scorer(
    path: str | Path, settings: LoadSettings | None = None, *, seed: int | None = None, head_init: HeadInit = "normal"
) -> PreTrainedModel:
    """Read a model with one scalar output (reward or value), in eval mode.

    From a saved scorer everything is read. From a language model the head is new and needs a `seed`: normal with standard
    deviation 1/sqrt(hidden + 1) (Stiennon et al. 2020), or zeros. Raises TruingError as `load_policy` does.
    """
    settings = settings or LoadSettings()
    where = model_directory(path)
    is_scorer = _is_scorer(where, settings)
    if not is_scorer and seed is None:
        raise TruingError(f"{where}: a language model, not a reward model: it has no score head. Train one with `truing reward`.")
    model = _load(
        AutoModelForSequenceClassification, where, settings, may_lack=() if is_scorer else ("score.weight",), num_labels=1
    )
    if model.config.num_labels != 1:
        raise TruingError(f"{where}: has {model.config.num_labels} outputs; a reward model has one (num_labels = 1)")
    if not is_scorer:
        _init_head(model, seed or 0, head_init)
    return model


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, directory: Path) -> None:
    """Write config, safetensors, tokenizer and chat template into `directory`, all or nothing, on disk when this returns.

    Adapters are merged into the weights, and kept beside them in `adapter/`.
    """
    with durable_folder(directory) as folder:
        write_model(model, folder)
        if has_adapters(model):
            save_adapter(model, folder / "adapter")
        tokenizer.save_pretrained(folder)


def write_model(model: PreTrainedModel, folder: Path) -> None:
    """Write config and safetensors into `folder`, adapters merged into the weights. Not flushed to disk, nor all or nothing."""
    with _quiet():
        model.save_pretrained(folder, state_dict=merged_tensors(model) if has_adapters(model) else None)


def _load(auto: Any, path: str | Path, settings: LoadSettings, may_lack: tuple[str, ...], **config: Any) -> PreTrainedModel:
    """A model that is known to run unpadded batches."""
    policy = _read(auto, path, settings, may_lack, **config)
    require_ragged(policy, model_directory(path))
    if settings.gradient_checkpointing:
        # transformers 5.23 has renamed it
        enable = getattr(policy, "activation_checkpointing_enable", None) or policy.gradient_checkpointing_enable
        enable({"use_reentrant": False})
    return policy


def _read(auto: Any, path: str | Path, settings: LoadSettings, may_lack: tuple[str, ...], **config: Any) -> PreTrainedModel:
    where = model_directory(path)
    device = choose_device(settings)
    with _quiet(), _explained(where, "model"):
        model, info = auto.from_pretrained(
            where,
            dtype=choose_dtype(settings, device),
            attn_implementation=choose_attention(settings, device),
            trust_remote_code=settings.trust_remote_code,
            use_safetensors=True,
            output_loading_info=True,
            **config,
        )
    broken = sorted(set(info["missing_keys"]) - set(may_lack)) + sorted(str(key) for key in info["mismatched_keys"])
    if broken:
        raise TruingError(f"{where}: weights are missing or have the wrong shape: {', '.join(broken[:3])} ({len(broken)} in all)")
    policy: PreTrainedModel = model.to(device).eval()
    if kind := _LAYERS_OF_PRODUCTS.get(choose_products(settings, device)):
        multiply_by(policy, kind)
    if settings.fused and device.type == "cpu":
        for fuse in (fuse_norms, fuse_rotary, fuse_gates):
            fuse(policy)
    if settings.skip_unread:
        skip_unread(policy)
    return policy


def _is_scorer(where: str, settings: LoadSettings) -> bool:
    with _explained(where, "config.json"):
        config = AutoConfig.from_pretrained(where, trust_remote_code=settings.trust_remote_code)
    return any(name.endswith("ForSequenceClassification") for name in config.architectures or ())


def _init_head(model: PreTrainedModel, seed: int, head_init: HeadInit) -> None:
    head: Any = model.score
    weight: Tensor = head.weight
    generator = torch.Generator().manual_seed(seed)
    fresh = torch.zeros(weight.shape)
    if head_init == "normal":
        fresh.normal_(0.0, 1 / math.sqrt(weight.shape[1] + 1), generator=generator)
    with torch.no_grad():
        weight.copy_(fresh)


@contextlib.contextmanager
def _explained(where: str, what: str) -> Iterator[None]:
    """Turn transformers' and safetensors' errors into one that names the folder and what could not be read."""
    try:
        yield
    except SafetensorError as error:
        files = ", ".join(sorted(p.name for p in Path(where).glob("*.safetensors")))
        raise TruingError(
            f"{where}: {files or 'the weights'} cannot be read ({error}); the file is cut short or corrupt"
        ) from error
    except json.JSONDecodeError as error:
        raise TruingError(f"{where}: a JSON file of the {what} cannot be read ({error})") from error
    except Exception as error:  # tokenizers raises Exception itself, transformers almost anything
        reason = str(error).strip().split("\n")[0]
        raise TruingError(f"{where}: cannot load the {what}: {reason}") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' progress bars and load reports off the terminal; what matters in them is checked and raised."""
    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
