"""What happens to rows longer than a limit: an error, left out and counted, or the oldest part of the prompt cut off.

A completion is never cut: its end is what is judged and what stops the policy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, TypeVar

from transformers import PreTrainedTokenizerBase

from truing.errors import TruingError
from truing.models.template import TokenisedPair, TokenisedTurns, demonstration_tokens, pair_tokens, prompt_tokens
from truing.records import Demonstration, Message, PreferencePair, Prompt

TooLong = Literal["error", "drop", "truncate_left"]
ItemT = TypeVar("ItemT")
FittedT = TypeVar("FittedT")


@dataclass(frozen=True)
class Fitted(Generic[FittedT]):
    """Rows as tokens within the limit. `kept[i]` is the index of the row that `items[i]` came from."""

    items: list[FittedT]
    kept: list[int]
    n_truncated: int

    def dropped(self, n_rows: int) -> int:
        """How many of `n_rows` were left out."""
        return n_rows - len(self.kept)


class TokenisedChoice(NamedTuple):
    """Two answers to one prompt; where the prompt was cut, both start at the same place."""

    chosen: TokenisedPair
    rejected: TokenisedPair


class _Fit(NamedTuple, Generic[FittedT]):
    """One row: how long it was, and what is left of it where it had to be cut (None = it cannot be)."""

    n_tokens: int
    whole: FittedT
    cut: Callable[[], FittedT | None]


def fit_prompts(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt], max_tokens: int, too_long: TooLong
) -> Fitted[list[int]]:
    """Prompts as tokens, ready to be answered. Raises TruingError naming the first that is too long where that is an error."""

    def fit(prompt: Prompt) -> _Fit[list[int]]:
        tokens = prompt_tokens(tokenizer, prompt.messages)
        return _Fit(len(tokens), tokens, lambda: _longest_tail(tokenizer, prompt.messages, max_tokens))

    return _fit_all(prompts, fit, lambda prompt: prompt.text, max_tokens, too_long)


def fit_demonstrations(
    tokenizer: PreTrainedTokenizerBase, demonstrations: Sequence[Demonstration], max_tokens: int, too_long: TooLong
) -> Fitted[TokenisedTurns]:
    """Demonstrations as tokens with what is trained on. Truncation drops the oldest turns, keeping whole assistant's turns."""

    def fit(demonstration: Demonstration) -> _Fit[TokenisedTurns]:
        whole = demonstration_tokens(tokenizer, demonstration.messages)
        return _Fit(len(whole.tokens), whole, lambda: _cut_demonstration(tokenizer, demonstration.messages, max_tokens))

    return _fit_all(demonstrations, fit, lambda demonstration: demonstration.messages[0].content, max_tokens, too_long)


def fit_pairs(
    tokenizer: PreTrainedTokenizerBase, pairs: Sequence[PreferencePair], max_tokens: int, too_long: TooLong
) -> Fitted[TokenisedChoice]:
    """Pairs as tokens. Truncation cuts both answers' prompt alike; a pair with an answer beyond the limit is left out."""

    def fit(pair: PreferencePair) -> _Fit[TokenisedChoice]:
        sides = (pair_tokens(tokenizer, pair.prompt.messages, text) for text in (pair.chosen, pair.rejected))
        whole = TokenisedChoice(*sides)
        return _Fit(max(len(side.tokens) for side in whole), whole, lambda: _cut_pair(tokenizer, pair, whole, max_tokens))

    return _fit_all(pairs, fit, lambda pair: pair.prompt.text, max_tokens, too_long)


def _fit_all(
    rows: Sequence[ItemT], fit: Callable[[ItemT], _Fit[FittedT]], name: Callable[[ItemT], str], max_tokens: int, too_long: TooLong
) -> Fitted[FittedT]:
    items, kept, n_truncated = [], [], 0
    for index, row in enumerate(rows):
        n_tokens, whole, cut = fit(row)
        item: FittedT | None = whole
        if n_tokens > max_tokens:
            if too_long == "error":
                raise TruingError(
                    f"row {index + 1} has {n_tokens} tokens, more than the {max_tokens} that fit (it begins {name(row)[:60]!r}). "
                    "Shorten it, or leave such rows out (--set data.too_long=drop) or cut them (truncate_left)."
                )
            item = cut() if too_long == "truncate_left" else None
            n_truncated += item is not None
        if item is not None:
            items.append(item)
            kept.append(index)
    if not items:
        raise TruingError(f"all {len(rows)} rows are longer than {max_tokens} tokens; raise max_tokens or shorten them")
    return Fitted(items, kept, n_truncated)


def _longest_tail(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Message], max_tokens: int) -> list[int] | None:
    """The longest tail of a prompt that fits: oldest turns go first, then tokens from the left. None where nothing would stay."""
    if max_tokens < 1:
        return None
    tokens = []
    for tail in _tails(turns):
        tokens = prompt_tokens(tokenizer, tail)
        if len(tokens) <= max_tokens:
            return tokens
    return tokens[-max_tokens:]


def _tails(turns: Sequence[Message]) -> list[list[Message]]:
    """The turns, then with the oldest exchange gone, and so on: a system turn stays, and each tail begins with a user's."""
    system = [turn for turn in turns[:1] if turn.role == "system"]
    rest = turns[len(system) :]
    starts = [index for index, turn in enumerate(rest) if turn.role == "user"] or [0]
    return [[*system, *rest[start:]] for start in starts]


def _cut_pair(
    tokenizer: PreTrainedTokenizerBase, pair: PreferencePair, whole: TokenisedChoice, max_tokens: int
) -> TokenisedChoice | None:
    answers = [[token for token, mine in zip(*side, strict=True) if mine] for side in whole]
    opening = _longest_tail(tokenizer, pair.prompt.messages, max_tokens - max(map(len, answers)))
    if opening is None:
        return None
    chosen, rejected = (TokenisedPair([*opening, *answer], [False] * len(opening) + [True] * len(answer)) for answer in answers)
    return TokenisedChoice(chosen, rejected)


def _cut_demonstration(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Message], max_tokens: int) -> TokenisedTurns | None:
    for tail in _tails(turns):
        if not any(turn.role == "assistant" for turn in tail):
            continue
        tokenised = demonstration_tokens(tokenizer, tail)
        if len(tokenised.tokens) <= max_tokens:
            return tokenised
    return None
