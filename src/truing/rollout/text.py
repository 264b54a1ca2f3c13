"""The text of a completion, token by token: for stop strings and for streaming, without decoding all of it at each token."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

_UNFINISHED = "\N{REPLACEMENT CHARACTER}"
"""What a tokenizer shows for bytes that are not a whole character yet."""


class TokenText:
    """Decodes a growing list of tokens. Only those since the last settled text are decoded again, with one step of context
    before them: what a token reads as may depend on its neighbour (spaces, characters of several bytes).
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._tokens: list[int] = []
        self._context = 0
        self._settled = 0

    def add(self, token: int) -> str:
        """Text that this token settles: empty while a character is unfinished."""
        self._tokens.append(token)
        new = self.unsettled
        if not new or new.endswith(_UNFINISHED):
            return ""
        self._context, self._settled = self._settled, len(self._tokens)
        return new

    @property
    def unsettled(self) -> str:
        """Text of the tokens since the last settled one."""
        known = self._decode(self._tokens[self._context : self._settled])
        return self._decode(self._tokens[self._context :])[len(known) :]

    def _decode(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(tokens, clean_up_tokenization_spaces=False)) if tokens else ""


class StopStrings:
    """Watches one completion for the first of some strings."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, strings: Sequence[str]) -> None:
        self._strings = strings
        self._text = TokenText(tokenizer)
        self._tail = ""
        self._kept = max(map(len, strings)) - 1

    def found(self, token: int) -> bool:
        """Whether this token completes one of the strings."""
        settled = self._text.add(token)
        seen = self._tail + (settled or self._text.unsettled)
        if settled:
            self._tail = seen[-self._kept :] if self._kept else ""
        return any(string in seen for string in self._strings)
