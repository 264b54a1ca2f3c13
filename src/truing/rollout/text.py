"""The text of a completion, token by token: for stop strings and for streaming, without decoding all of it at each token."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from truing.models.template import end_token_ids

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

    def _decode(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, clean_up_tokenization_spaces=False)) if tokens else ""


class AnswerText:
    """An answer as it grows: all pieces together are `completion_text` of its tokens (white space around it stripped)."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._text = TokenText(tokenizer)
        self._ends = end_token_ids(tokenizer)
        self._held = ""
        self._has_begun = False

    def add(self, token: int) -> str:
        """What may be shown now; white space is held back until something follows it."""
        return self._release("" if token in self._ends else self._text.add(token))

    def finish(self) -> str:
        """What is left at the end: an unfinished character."""
        return self._release(self._text.unsettled)

    def _release(self, text: str) -> str:
        self._held += text
        if not self._has_begun:
            self._held = self._held.lstrip()
        shown = self._held.rstrip()
        self._held = self._held[len(shown) :]
        self._has_begun = self._has_begun or bool(shown)
        return shown


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
