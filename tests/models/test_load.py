import json
import math
import shutil

import pytest
import torch

from truing.errors import TruingError
from truing.models.config import LoadSettings
from truing.models.forward import last_token_scores
from truing.models.load import (
    choose_attention,
    choose_device,
    load_policy,
    load_scorer,
    load_tokenizer,
    model_directory,
    save_model,
)
from truing.models.ragged import RaggedBatch


@pytest.fixture
def broken_dir(tiny_model_dir, tmp_path):
    return shutil.copytree(tiny_model_dir, tmp_path / "m")


def test_an_artifact_folder_resolves_to_its_model(broken_dir, tmp_path):
    (tmp_path / "artifact").mkdir()
    broken_dir.rename(tmp_path / "artifact" / "model")
    assert model_directory(tmp_path / "artifact") == str(tmp_path / "artifact" / "model")
    load_policy(tmp_path / "artifact")


def test_a_hub_id_is_handed_on():
    assert model_directory("org/name-7B") == "org/name-7B"


def test_missing_folder(tmp_path):
    with pytest.raises(TruingError, match="no such model folder"):
        load_policy(tmp_path / "nothing")


def test_folder_without_config(tmp_path):
    with pytest.raises(TruingError, match=r"config\.json"):
        load_policy(tmp_path)


def test_missing_weights(broken_dir):
    (broken_dir / "model.safetensors").unlink()
    with pytest.raises(TruingError, match="cannot load the model"):
        load_policy(broken_dir)


def test_truncated_weights_name_the_file(broken_dir):
    weights = broken_dir / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(TruingError, match=r"model\.safetensors"):
        load_policy(broken_dir)


def test_lacking_tensors_are_not_filled_with_noise(broken_dir):
    from safetensors.torch import load_file, save_file

    tensors = load_file(broken_dir / "model.safetensors")
    tensors.pop("model.norm.weight")
    save_file(tensors, broken_dir / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TruingError, match=r"model\.norm\.weight"):
        load_policy(broken_dir)


def test_garbage_config(broken_dir):
    (broken_dir / "config.json").write_text("{not json")
    with pytest.raises(TruingError, match=str(broken_dir)):
        load_policy(broken_dir)


def test_pickled_weights_are_refused(broken_dir):
    from safetensors.torch import load_file

    torch.save(load_file(broken_dir / "model.safetensors"), broken_dir / "pytorch_model.bin")
    (broken_dir / "model.safetensors").unlink()
    with pytest.raises(TruingError, match="cannot load the model"):
        load_policy(broken_dir)


def test_garbage_tokenizer(broken_dir):
    (broken_dir / "tokenizer.json").write_text("[]")
    with pytest.raises(TruingError, match="tokenizer"):
        load_tokenizer(broken_dir)


def test_unknown_device():
    with pytest.raises(TruingError, match="not a torch device"):
        choose_device(LoadSettings(device="abacus"))


def test_a_language_model_is_not_taken_for_a_reward_model(tiny_model_dir):
    with pytest.raises(TruingError, match="no score head"):
        load_scorer(tiny_model_dir)


def test_a_zero_head_scores_zero_and_a_normal_one_has_its_spread(tiny_model_dir):
    batch = RaggedBatch.from_sequences([[5, 6, 7], [8, 9]])
    zero = load_scorer(tiny_model_dir, seed=0, head_init="zeros")
    assert last_token_scores(zero, batch).tolist() == [0.0, 0.0]
    weights = torch.cat([load_scorer(tiny_model_dir, seed=s).score.weight.flatten() for s in range(8)])
    assert weights.std().item() == pytest.approx(1 / math.sqrt(33), rel=0.2)


def test_a_new_head_is_determined_by_its_seed(tiny_model_dir):
    heads = [load_scorer(tiny_model_dir, seed=s).score.weight for s in (4, 4, 5)]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_saved_and_loaded_is_the_same_to_the_bit(tiny_model_dir, tmp_path):
    model, tokenizer = load_policy(tiny_model_dir), load_tokenizer(tiny_model_dir)
    save_model(model, tokenizer, tmp_path / "a")
    again = load_policy(tmp_path / "a")
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), again.parameters(), strict=True))
    save_model(again, load_tokenizer(tmp_path / "a"), tmp_path / "b")
    names = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert names == sorted(p.name for p in (tmp_path / "b").iterdir())
    assert all((tmp_path / "a" / n).read_bytes() == (tmp_path / "b" / n).read_bytes() for n in names)
    assert "truing" not in (tmp_path / "a" / "config.json").read_text()


def test_a_scorer_comes_back_with_its_head(tiny_model_dir, tmp_path):
    scorer, tokenizer = load_scorer(tiny_model_dir, seed=9), load_tokenizer(tiny_model_dir)
    save_model(scorer, tokenizer, tmp_path / "r")
    again = load_scorer(tmp_path / "r")
    assert torch.equal(scorer.score.weight, again.score.weight)
    assert json.loads((tmp_path / "r" / "config.json").read_text())["architectures"] == ["LlamaForSequenceClassification"]


def test_chat_template_can_be_given(tiny_model_dir):
    assert load_tokenizer(tiny_model_dir, "{{ eos_token }}").chat_template == "{{ eos_token }}"


def test_each_device_attends_in_its_way():
    ways = {name: choose_attention(LoadSettings(), torch.device(name)) for name in ("cpu", "cuda", "mps")}
    assert ways == {"cpu": "truing_segments", "cuda": "truing_flex", "mps": "truing"}
    with pytest.raises(TruingError, match="runs on a CPU, not on cuda"):
        choose_attention(LoadSettings(attention="segments"), torch.device("cuda"))


def test_flex_attention_is_refused_where_it_cannot_train(tiny_model_dir):
    with pytest.raises(TruingError, match="no backward pass on a CPU"):
        load_policy(tiny_model_dir, LoadSettings(device="cpu", attention="flex"))


def test_a_wide_vocabulary_rounds_differently_in_bfloat16_and_loads_all_the_same(tmp_path):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 256, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    LlamaForCausalLM(LlamaConfig(vocab_size=8192, tie_word_embeddings=True, **sizes)).save_pretrained(tmp_path)
    assert load_policy(tmp_path, LoadSettings(dtype="bfloat16")).dtype == torch.bfloat16
