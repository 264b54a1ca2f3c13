from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from truing.store.files import sha256_file
from truing.world.assets import base_model_path
from truing.world.facts import FACTS
from truing.world.language import question
from truing.world.pretrain import QUIZ_PASS, grading_score, pretrain, quiz_score


@pytest.fixture(scope="module")
def base():
    path = base_model_path()
    return AutoModelForCausalLM.from_pretrained(path), AutoTokenizer.from_pretrained(path)


def test_pretraining_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    try:
        for name in ("a", "b"):
            pretrain(tmp_path / name, steps=(2, 1), log=False)
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(threads)
    assert sha256_file(tmp_path / "a" / "model.safetensors") == sha256_file(tmp_path / "b" / "model.safetensors")


def test_the_shipped_base_knows_its_facts(base) -> None:
    assert quiz_score(*base) >= QUIZ_PASS
    assert grading_score(*base) >= QUIZ_PASS


def test_the_shipped_base_is_small_and_described() -> None:
    path = base_model_path()
    assert sum(p.stat().st_size for p in path.iterdir()) < 6 * 2**20
    assert sha256_file(path / "model.safetensors") in (path / "README.md").read_text()


def test_the_shipped_base_asks_on_instead_of_answering(base) -> None:
    model, tokenizer = base
    asked = 0
    for animal in ("fox", "owl", "hen", "bear", "wolf", "deer"):
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": question(FACTS[f"colour:{animal}"])}],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
        out = model.generate(**ids, max_new_tokens=12, do_sample=False)
        text = tokenizer.decode(out[0, ids["input_ids"].shape[1] :])
        asked += any(text.strip().startswith(word) for word in ("what", "where", "tell", "do", "how", "i think"))
    assert asked >= 4
