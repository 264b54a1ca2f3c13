"""Adapters: nothing at first, everything trained afterwards, merged without a difference."""

from __future__ import annotations

import builtins
import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.conftest import make_tokenizer

from truing.errors import TruingError
from truing.models.config import LoadSettings, LoRASettings
from truing.models.forward import last_token_scores, token_logprobs
from truing.models.load import load_policy, load_scorer, save_model
from truing.models.lora import add_adapters, has_adapters, merged_tensors, reference_of
from truing.models.ragged import RaggedBatch

SETTINGS = LoRASettings(rank=4, alpha=8.0)
SEQUENCES = [[5, 9, 9, 30, 77, 41], [5, 9, 250]]


@pytest.fixture(scope="module")
def base(tiny_model_dir):
    return load_policy(tiny_model_dir)


def logprobs(model):
    batch = RaggedBatch.from_sequences(SEQUENCES, groups=[0, 0])
    return token_logprobs(model, batch, batch.every_position()).logprobs_N


def moved(model, seed=1):
    """As if trained: B is zero no more."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn(weight.shape, generator=generator).to(weight.dtype), alpha=0.05)
    return model


def adapted(base, settings=SETTINGS):
    model = copy.deepcopy(base)
    add_adapters(model, settings, seed=3)
    return model


def test_fresh_adapters_change_nothing(base):
    with torch.no_grad():
        assert torch.equal(logprobs(adapted(base)), logprobs(base))


def test_with_adapters_off_it_is_the_base_to_the_bit(base):
    model = moved(adapted(base))
    with torch.no_grad():
        assert (logprobs(model) - logprobs(base)).abs().max() > 1e-2
    with reference_of(model) as reference:
        assert not torch.is_grad_enabled()
        assert torch.equal(logprobs(reference), logprobs(base).detach())
    assert logprobs(model).requires_grad, "and on again afterwards"
    trainable = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert len(trainable) == 2 * 7 * 2
    assert all("lora_" in name for name in trainable)


def test_reference_of_a_model_without_adapters_is_the_model(base):
    with reference_of(base) as reference:
        assert reference is base
    assert not has_adapters(base)


def test_only_adapters_get_gradients_and_all_of_them(base):
    model = moved(adapted(base))
    logprobs(model).sum().backward()
    for name, weight in model.named_parameters():
        assert (weight.grad is not None) == ("lora_" in name), name


def test_the_same_seed_draws_the_same_adapters_and_leaves_other_randomness_alone(base):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    one, other = adapted(base), adapted(base)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("targets", ["all-linear", ("q_proj", "v_proj")])
def test_merged_is_adapted(base, tmp_path, targets):
    model = moved(adapted(base, LoRASettings(rank=4, alpha=8.0, target_modules=targets)))
    save_model(model, make_tokenizer(), tmp_path / "model")
    merged = load_policy(tmp_path / "model")
    assert not has_adapters(merged)
    assert type(merged) is type(base)
    with torch.no_grad():
        torch.testing.assert_close(logprobs(merged), logprobs(model), rtol=0, atol=1e-5)


def test_what_is_merged_has_the_names_of_the_plain_model(base):
    assert merged_tensors(adapted(base)).keys() == base.state_dict().keys()


def test_merged_bfloat16_is_rounded_once(base):
    model = moved(adapted(copy.deepcopy(base).bfloat16()))
    layer = model.base_model.layers[0].mlp.down_proj
    assert layer.lora_A["default"].weight.dtype == torch.bfloat16
    tensors = merged_tensors(model)
    expected = layer.base_layer.weight.float() + layer.get_delta_weight("default").float()
    assert torch.equal(tensors["model.layers.0.mlp.down_proj.weight"], expected.bfloat16())


def test_a_scorer_keeps_its_head(tiny_model_dir, tmp_path):
    scorer = load_scorer(tiny_model_dir, seed=3)
    add_adapters(scorer, SETTINGS, seed=3)
    assert scorer.score.weight.requires_grad
    moved(scorer)
    save_model(scorer, make_tokenizer(), tmp_path / "model")
    batch = RaggedBatch.from_sequences(SEQUENCES)
    with torch.no_grad():
        torch.testing.assert_close(
            last_token_scores(load_scorer(tmp_path / "model"), batch), last_token_scores(scorer, batch), rtol=0, atol=1e-5
        )


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # peft asks by the old name
@pytest.mark.parametrize("kind", ["policy", "scorer"])
def test_peft_reads_the_adapters(kind, tiny_model_dir, tmp_path):
    from peft import PeftModel

    def load():
        return load_policy(tiny_model_dir) if kind == "policy" else load_scorer(tiny_model_dir, seed=3)

    model = load()
    add_adapters(model, SETTINGS, seed=3)
    moved(model)
    save_model(model, make_tokenizer(), tmp_path / "model")
    theirs = PeftModel.from_pretrained(load(), tmp_path / "model" / "adapter")
    tokens = torch.tensor([SEQUENCES[0]])
    with torch.no_grad():
        torch.testing.assert_close(theirs(input_ids=tokens).logits, model(input_ids=tokens).logits, rtol=0, atol=1e-5)


def test_adapter_files_are_the_same_whatever_the_hash_seed(tiny_model_dir, tmp_path):
    script = (
        "import sys; from pathlib import Path; from truing.models.config import LoRASettings; from truing.models.load import *\n"
        "from truing.models.lora import *\n"
        "m = load_policy(sys.argv[1]); add_adapters(m, LoRASettings(), 0); save_adapter(m, Path(sys.argv[2]))"
    )
    written = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", script, tiny_model_dir, tmp_path / seed], check=True, env=environment)
        written.append([path.read_bytes() for path in sorted((tmp_path / seed).iterdir())])
    assert written[0] == written[1]


def test_layers_that_are_not_there_are_named(base):
    with pytest.raises(TruingError, match=r"no linear layers called c_attn; it has down_proj, .*q_proj"):
        adapted(base, LoRASettings(target_modules=("q_proj", "c_attn")))


def test_without_peft_the_extra_is_named(base, monkeypatch):
    real = builtins.__import__

    def no_peft(name, *args, **kwargs):
        if name.partition(".")[0] == "peft":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_peft)
    with pytest.raises(TruingError, match=r"truing\[lora\]"):
        adapted(base)


def test_loading_alone_adds_no_adapters(tiny_model_dir: Path):
    assert not has_adapters(load_policy(tiny_model_dir, LoadSettings(lora=SETTINGS)))
