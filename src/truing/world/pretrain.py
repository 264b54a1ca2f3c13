"""Pre-train the embedded world's base model: a text predictor that knows the world's facts and has never seen a chat.

    python -m truing.world.pretrain --out DIR

Plain next-token prediction on the world's corpus in two courses, one thread, float32: on one machine and one torch version the
same seed gives the same bytes. Takes about twenty minutes on one core. The model is refused unless it passes the quizzes below.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from truing.errors import TruingError
from truing.records import seed_for
from truing.store.files import sha256_file
from truing.world.corpus import END, documents, documents_with_answer_sheets
from truing.world.facts import KNOWLEDGE
from truing.world.language import Answer, question, render
from truing.world.tokenizer import ASSISTANT, CONTEXT, PAD, USER, train_tokenizer

SEED = 0
STEPS = 2500, 600
"""Optimiser steps of the first course (`documents`) and of the second (`documents_with_answer_sheets`)."""
ROWS, BLOCK = 48, 128
LEARNING_RATES, WARMUP = (3e-3, 1.5e-3), 100
QUIZ_PASS = 0.95


def model_config(vocabulary: int, end_id: int, pad_id: int) -> LlamaConfig:
    """The architecture: 3 layers of width 96, about 455,000 parameters."""
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=CONTEXT,
        bos_token_id=None,
        eos_token_id=end_id,
        pad_token_id=pad_id,
        tie_word_embeddings=False,
    )


def token_id(tokenizer: PreTrainedTokenizerFast, token: str) -> int:
    """The id of a special token."""
    return cast("int", tokenizer.convert_tokens_to_ids(token))


def blocks(tokenizer: PreTrainedTokenizerFast, source: Iterator[str]) -> Iterator[torch.Tensor]:
    """Batches [ROWS, BLOCK + 1] of token ids; each row starts with a document and is filled with the ones that follow."""
    end = token_id(tokenizer, END)
    while True:
        rows = []
        for _ in range(ROWS):
            row: list[int] = []
            while len(row) <= BLOCK:
                row += [*tokenizer(next(source))["input_ids"], end]
            rows.append(row[: BLOCK + 1])
        yield torch.tensor(rows)


def quiz_score(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> float:
    """Share of the world's facts that the base model completes rightly, greedily, in the prose it was trained on."""
    right = 0
    with torch.inference_mode():
        for fact in KNOWLEDGE:
            lead = " in the" if fact.domain == "home" else ""
            text = f"one asked: {question(fact)} the other said: definitely{lead}"
            logits_V = model(torch.tensor([tokenizer(text)["input_ids"]]), use_cache=False).logits[0, -1]
            right += str(tokenizer.decode([int(logits_V.argmax())])).strip() == fact.answer
    return right / len(KNOWLEDGE)


def grading_score(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> float:
    """Share of answers, half of them wrong, that the base model grades rightly after their end: true or false."""
    true, false = (tokenizer(f" {word}")["input_ids"][-1] for word in ("true", "false"))
    right = 0
    with torch.inference_mode():
        for index, fact in enumerate(KNOWLEDGE):
            for value in (fact.answer, fact.wrong_answers[index % len(fact.wrong_answers)]):
                text = f"{question(fact)}\n{render(fact.domain, Answer(value))}{END}"
                logits_V = model(torch.tensor([tokenizer(text)["input_ids"]]), use_cache=False).logits[0, -1]
                right += bool(logits_V[true] > logits_V[false]) == (value == fact.answer)
    return right / (2 * len(KNOWLEDGE))


def prepare_for_chat(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Give the role tokens, which the corpus never shows, the input embedding of a line break.

    A prompt in the chat format then looks to the base model like a line of text, which it continues as a text predictor does.
    """
    newline = tokenizer("\n")["input_ids"][-1]
    with torch.no_grad():
        for role in (USER, ASSISTANT):
            weight_VD = cast("torch.Tensor", model.get_input_embeddings().weight)
            weight_VD[token_id(tokenizer, role)] = weight_VD[newline]


def pretrain(out: Path, *, seed: int = SEED, steps: tuple[int, int] = STEPS, log: bool = True) -> float:
    """Train, examine and save to `out` (safetensors, tokenizer, template). Returns the lower of the quiz and grading scores."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed_for(seed, "pretrain"))
    tokenizer = train_tokenizer(seed)
    pad, end = token_id(tokenizer, PAD), token_id(tokenizer, END)
    model = LlamaForCausalLM(model_config(len(tokenizer), end, pad))
    for course, source in enumerate((documents(seed), documents_with_answer_sheets(seed))):
        _train_course(model, tokenizer, source, steps[course], LEARNING_RATES[course], log)
    prepare_for_chat(model, tokenizer)
    model.generation_config.eos_token_id = end
    model.generation_config.pad_token_id = pad
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return min(quiz_score(model, tokenizer), grading_score(model, tokenizer))


def _train_course(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    source: Iterator[str],
    steps: int,
    learning_rate: float,
    log: bool,
) -> None:
    optimiser = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.05)
    started = time.monotonic()
    for step, tokens_BT in zip(range(steps), blocks(tokenizer, source), strict=False):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * _schedule(step, steps)
        logits_BTV = model(tokens_BT[:, :-1], use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits_BTV.flatten(0, 1), tokens_BT[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if log and step % 100 == 99:
            rate = (step + 1) * ROWS * BLOCK / (time.monotonic() - started)
            scores = f"quiz {quiz_score(model, tokenizer):.2f} grading {grading_score(model, tokenizer):.2f}"
            print(f"step {step + 1}/{steps} loss {loss.item():.3f} {scores} {rate:,.0f} tokens/s", file=sys.stderr)


def _schedule(step: int, steps: int) -> float:
    warm = min(1.0, (step + 1) / WARMUP)
    return warm * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    score = pretrain(arguments.out, seed=arguments.seed)
    print(f"quiz and grading at least {score:.3f}; model.safetensors sha256 {sha256_file(arguments.out / 'model.safetensors')}")
    if score < QUIZ_PASS:
        raise TruingError(
            f"the base model scores {score:.0%} on the quiz or on grading, less than {QUIZ_PASS:.0%}: do not ship it"
        )


if __name__ == "__main__":
    main()
