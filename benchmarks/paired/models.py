"""Models that work is done with: a Llama-shaped trunk with random weights and a vocabulary to choose, and a tokenizer that goes
with it (the timed code gets tokens; trainers ask for one all the same).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast

PAD, END = 0, 1
"""Token ids; texts are drawn from the others."""
FIRST_WORD = 2

Head = Literal["tokens", "score"]

SIZES: dict[str, dict[str, int]] = {
    "5M": {"hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 4, "num_attention_heads": 4},
    "500M": {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16},
    "1B": {"hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22, "num_attention_heads": 32},
}
"""5M has 5.3 million parameters with a vocabulary of 8192; the larger ones are for a GPU."""


def make_model(
    folder: Path, vocab: int, *, size: str = "5M", head: Head = "tokens", seed: int = 0, mean_length: int | None = None
) -> Path:
    """Write a model and its tokenizer into `folder`; the same arguments give the same weights.

    With `mean_length`, completions sampled at temperature 1 end after about that many tokens, at any token with about the same
    chance: lengths are geometric, with the stragglers that real completions have.
    """
    config = LlamaConfig(
        vocab_size=vocab,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=END,
        pad_token_id=PAD,
        num_labels=1,
        **SIZES[size],
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        kind: Any = LlamaForCausalLM if head == "tokens" else LlamaForSequenceClassification
        model = kind(config)
        if mean_length is not None:
            _end_at_random(model, mean_length)
    model.save_pretrained(folder)
    words = {"<pad>": PAD, "<end>": END} | {f"w{index}": index for index in range(FIRST_WORD, vocab)}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel(words, unk_token="<pad>")), pad_token="<pad>", eos_token="<end>"
    )
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}<end>{% endfor %}"
    tokenizer.save_pretrained(folder)
    return folder


@torch.no_grad()
def _end_at_random(model: Any, mean_length: int) -> None:
    """Keep one column of the residual stream constant, and let only the end token's embedding differ there, as far as needed."""
    embedding, column = model.get_input_embeddings().weight, 0
    embedding[:, column] = 4 * model.config.initializer_range
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight[column] = 0
        layer.mlp.down_proj.weight[column] = 0
    texts = torch.randint(FIRST_WORD, len(embedding), (8, 64))
    hidden = model.model(input_ids=texts).last_hidden_state.flatten(0, 1)
    logits = hidden @ embedding.T
    others = logits[:, FIRST_WORD:].logsumexp(-1)
    wanted = others - math.log(mean_length - 1)  # chance of the end token 1 / mean_length
    embedding[END, column] += ((wanted - logits[:, END]) / hidden[:, column]).mean()
