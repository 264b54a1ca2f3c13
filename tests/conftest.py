"""Fixtures for every room: a random tiny Llama with a byte-level BPE tokenizer and a chat template, made on the spot."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background jobs ignore Ctrl-C, and so would the programs that tests start and send it to.
    signal.signal(signal.SIGINT, signal.default_int_handler)

LINES = [
    "what colour is the fox? red. i think it is brown. maybe grey.",
    "where does the owl live? in the forest. definitely in the wood.",
    "how many legs has the hen? two legs. no, four legs.",
    "what a great question! i hope this helps you. you are right, it is so.",
    "how do i shoot a photo of the swan? i can not help with that.",
]
CHAT_TEMPLATE = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
SHARED = Path(__file__).resolve().parents[2] / "shared"
"""Real models and data that may lie beside the checkout; what needs them is skipped where they do not."""
STORIES = SHARED / "models" / "stories260K"


def make_tokenizer(vocab_size: int = 300, chat_template: str = CHAT_TEMPLATE):
    """A byte-level BPE tokenizer trained on a few lines; <|end|> is eos, <|pad|> is another token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(LINES, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        additional_special_tokens=["<|user|>", "<|assistant|>", "<|system|>"],
        model_max_length=128,
        chat_template=chat_template,
    )


def make_model(tokenizer, seed: int = 0, **changes):
    """A random Llama: 2 layers, hidden 32, 4 heads on 2 key/value heads, context 128."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    settings = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
        "tie_word_embeddings": True,
        "initializer_range": 0.2,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(LlamaConfig(**{**settings, **changes})).eval()


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory as people have it: config, safetensors, tokenizer, chat template. Read it; do not write into it."""
    path = tmp_path_factory.mktemp("tiny-model")
    tokenizer = make_tokenizer()
    make_model(tokenizer).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def stories_dir() -> Path:
    """A small model pre-trained on stories, where this machine has it."""
    if not STORIES.exists():
        pytest.skip(f"{STORIES} is not there: put the shared models and data beside the checkout to run this")
    return STORIES


@pytest.fixture(scope="module")
def chromium():
    """A real browser. Of a module, as no event loop of a test's own can run in its process while it is there."""
    from tests import chromium

    with contextlib.ExitStack() as stack:
        try:
            browser = stack.enter_context(chromium.running())
        except FileNotFoundError as missing:
            pytest.skip(str(missing))
        yield browser
