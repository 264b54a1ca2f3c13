"""The one place where messages become tokens and tokens become text. Everything else passes tokens on.

Rendering is the tokenizer's own chat template. It must be prefix-preserving: the tokens before an assistant's turn may not
depend on what the turn says, or the model would be trained on other tokens than it is sampled from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from truing.errors import TruingError
from truing.records import Message

_PROBES = ("Yes.", "no", "1, 2", "- a\n- b", '"so"', "i")


class TokenisedTurns(NamedTuple):
    """A conversation as tokens, and which of them an assistant wrote (its end tokens included)."""

    tokens: list[int]
    is_assistant: list[bool]


class TokenisedPair(NamedTuple):
    """A prompt with one completion as tokens, and which of them are the completion (its end token included)."""

    tokens: list[int]
    is_completion: list[bool]


def require_template(tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise TruingError where the tokenizer cannot serve a chat: no template, no end token, or not prefix-preserving."""
    template_end_token(tokenizer)
    prompt = prompt_tokens(tokenizer, [Message(role="user", content="a")])
    for text in _PROBES:
        turns = [Message(role="user", content="a"), Message(role="assistant", content=text)]
        if _encode(tokenizer, turns)[: len(prompt)] != prompt:
            raise _not_prefix_preserving(text)


def prompt_tokens(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> list[int]:
    """Tokens of a conversation that an assistant is to answer, with the template's opening of its turn."""
    return list(_opening(tokenizer, str(tokenizer.chat_template), tuple(messages)))


def demonstration_tokens(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> TokenisedTurns:
    """Tokens of a whole conversation; True on every assistant turn's content and on the end token that closes it.

    Raises TruingError where a turn changes tokens that stand before it.
    """
    tokens = _encode(tokenizer, messages)
    is_assistant = [False] * len(tokens)
    for index, message in enumerate(messages):
        if message.role != "assistant":
            continue
        start = len(_prefix(tokenizer, messages[:index], tokens, opening=True))
        end = len(tokens) if index == len(messages) - 1 else len(_prefix(tokenizer, messages[: index + 1], tokens, opening=False))
        closed = start + _length_to_end_token(tokenizer, tokens[start:end])
        is_assistant[start:closed] = [True] * (closed - start)
    last = max((i for i, flag in enumerate(is_assistant) if flag), default=-1)
    return TokenisedTurns(tokens[: last + 1], is_assistant[: last + 1])


def pair_tokens(tokenizer: PreTrainedTokenizerBase, prompt: Sequence[Message], text: str) -> TokenisedPair:
    """Tokens of a prompt answered with `text`; True on the answer and its end token."""
    opening = prompt_tokens(tokenizer, prompt)
    tokens = _encode(tokenizer, [*prompt, Message(role="assistant", content=text)])
    if tokens[: len(opening)] != opening:
        raise _not_prefix_preserving(text)
    end = len(opening) + _length_to_end_token(tokenizer, tokens[len(opening) :])
    return TokenisedPair(tokens[:end], [False] * len(opening) + [True] * (end - len(opening)))


def completion_tokens(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Tokens of an assistant's turn that says `text`, with the end token that the template closes it with."""
    pair = pair_tokens(tokenizer, [Message(role="user", content="a")], text)
    return [token for token, flag in zip(pair.tokens, pair.is_completion, strict=True) if flag]


def completion_text(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[int]) -> str:
    """What an assistant's turn says: end tokens at its end removed, white space around it stripped. Other special tokens show."""
    ends = end_token_ids(tokenizer)
    stop = len(tokens)
    while stop and tokens[stop - 1] in ends:
        stop -= 1
    return str(tokenizer.decode(list(tokens[:stop]), clean_up_tokenization_spaces=False)).strip()


def end_token_ids(tokenizer: PreTrainedTokenizerBase, *model_configs: Any) -> frozenset[int]:
    """Every token that ends a turn: the template's, the tokenizer's eos, and all eos ids of the given (generation) configs."""
    ends = {template_end_token(tokenizer), tokenizer.eos_token_id}
    for config in model_configs:
        eos = getattr(config, "eos_token_id", None)
        ends.update(eos if isinstance(eos, Iterable) else [eos])
    return frozenset(int(end) for end in ends if end is not None)


def template_end_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """The special token with which the chat template closes an assistant's turn.

    Raises TruingError where there is no template, no eos token, or the template closes turns with plain text.
    """
    if not tokenizer.chat_template:
        raise TruingError(
            f"{tokenizer.name_or_path}: the tokenizer has no chat template. "
            "Give one (chat_template in the recipe), or use a model that has it."
        )
    if tokenizer.eos_token_id is None:
        raise TruingError(f"{tokenizer.name_or_path}: the tokenizer has no eos token, so a turn could never end. Set one.")
    return _end_token(tokenizer, str(tokenizer.chat_template))


@lru_cache(maxsize=4096)
def _opening(tokenizer: PreTrainedTokenizerBase, template: str, messages: tuple[Message, ...]) -> tuple[int, ...]:
    del template  # part of the cache key: a tokenizer may be given another template
    return tuple(_encode(tokenizer, messages, opening=True))


@lru_cache(maxsize=16)
def _end_token(tokenizer: PreTrainedTokenizerBase, template: str) -> int:
    del template  # as above
    rendered = _render(tokenizer, [Message(role="user", content="a"), Message(role="assistant", content="ZYX")], opening=False)
    after = _tokenise(tokenizer, rendered.rpartition("ZYX")[2])
    special = set(tokenizer.all_special_ids)
    for token in after:
        if token in special:
            return token
    raise TruingError(
        f"{tokenizer.name_or_path}: the chat template does not close an assistant's turn with a special token, so the model "
        "cannot learn to stop. Add {{ eos_token }} after the assistant's content."
    )


def _length_to_end_token(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[int]) -> int:
    """Length of a turn up to and with its last end token; what the template writes after it (a newline) is left out."""
    end = template_end_token(tokenizer)
    for index in range(len(tokens) - 1, -1, -1):
        if tokens[index] == end:
            return index + 1
    raise TruingError(
        f"{tokenizer.name_or_path}: the chat template leaves an assistant's turn open: {tokenizer.decode(list(tokens))[:60]!r}. "
        "Let it close every assistant's turn with the same end token."
    )


def _prefix(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], tokens: list[int], *, opening: bool) -> list[int]:
    prefix = _encode(tokenizer, messages, opening=opening)
    if tokens[: len(prefix)] != prefix:
        raise _not_prefix_preserving(messages[-1].content if messages else "")
    return prefix


def _encode(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], *, opening: bool = False) -> list[int]:
    return _tokenise(tokenizer, _render(tokenizer, messages, opening=opening))


def _render(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], *, opening: bool) -> str:
    if not tokenizer.chat_template:
        template_end_token(tokenizer)  # says what is missing
    turns = [{"role": message.role, "content": message.content} for message in messages]
    try:
        return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=opening))
    except TemplateError as error:
        raise TruingError(f"{tokenizer.name_or_path}: the chat template refuses this conversation: {error}") from None


def _tokenise(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"])


def _not_prefix_preserving(text: str) -> TruingError:
    return TruingError(
        "the chat template is not prefix-preserving: tokens before an assistant's turn change with what the turn says "
        f"({text[:40]!r}). Let it open the assistant's turn with a special token (add_generation_prompt), and keep earlier turns."
    )
