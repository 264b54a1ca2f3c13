"""A policy that answers messages with text: for `truing sample`, `truing chat`, comparisons and retests.

Training never passes through here: it works on tokens alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from truing.models.config import LoadSettings
from truing.models.load import load_tokenizer
from truing.models.template import completion_text, prompt_tokens, require_template
from truing.program.recipe import EMBEDDED, Recipe
from truing.records import Ending, Message, seed_for
from truing.rollout.config import EngineConfig
from truing.rollout.local import LocalSampler
from truing.rollout.make import load_sampler
from truing.rollout.request import Token, requests_for
from truing.rollout.sampler import OnProgress, Sampler, SamplingSettings
from truing.rollout.text import AnswerText
from truing.world.assets import base_model_path

Messages = Sequence[Message]


class Answer(NamedTuple):
    """What was said, and why it stopped."""

    text: str
    ending: Ending


class Piece(NamedTuple):
    """Part of an answer as it is drawn. Pieces come answer after answer, in the order that the answers were asked for."""

    conversation: int
    text: str
    is_last: bool


class Speaker:
    """A policy in memory or in an engine of its own: close it after use. `notice`, where there is one, is for the user."""

    def __init__(self, sampler: Sampler, notice: str | None = None) -> None:
        self.sampler = sampler
        self.notice = notice

    @classmethod
    def load(
        cls,
        model: str | Path,
        load: LoadSettings | None = None,
        chat_template: str | None = None,
        engine: EngineConfig | None = None,
    ) -> Self:
        """Read a model folder, an artifact, a hub id or "embedded". Raises TruingError where it cannot hold a chat."""
        settings = load or LoadSettings()
        path = base_model_path() if model == EMBEDDED else model
        tokenizer = load_tokenizer(path, chat_template, trust_remote_code=settings.trust_remote_code)
        require_template(tokenizer)
        return cls(*load_sampler(path, settings, tokenizer, engine))

    @classmethod
    def of(cls, model: str | Path, recipe: Recipe) -> Self:
        """`model` as `recipe` loads models and samples from them."""
        return cls.load(model, recipe.model.load_settings(), recipe.model.template(), recipe.engine)

    def close(self) -> None:
        """Give back what the engine holds."""
        self.sampler.close()

    def answers(
        self,
        conversations: Sequence[Messages],
        n: int,
        settings: SamplingSettings,
        seed: int,
        on_progress: OnProgress | None = None,
    ) -> list[list[Answer]]:
        """`n` answers to each conversation."""
        tokenizer = self.sampler.tokenizer
        prompts = [prompt_tokens(tokenizer, messages) for messages in conversations]
        groups = self.sampler.sample(prompts, samples_per_prompt=n, settings=settings, seed=seed, on_progress=on_progress)
        return [[Answer(completion_text(tokenizer, c.tokens), c.ending) for c in group] for group in groups]

    def stream(self, conversations: Sequence[Messages], n: int, settings: SamplingSettings, seed: int) -> Iterator[Piece]:
        """The same answers piece by piece: the first unfinished one as it is drawn, those after it when their turn comes."""
        count = len(conversations) * n
        texts = [AnswerText(self.sampler.tokenizer) for _ in range(count)]
        ready, is_over, front = [""] * count, [False] * count, 0
        for token in self._tokens(conversations, n, settings, seed):
            number = token.request
            ready[number] += texts[number].add(token.token) if token.token is not None else ""
            if token.ending is not None:
                ready[number] += texts[number].finish()
                is_over[number] = True
            while front < count and (ready[front] or is_over[front]):
                yield Piece(front // n, ready[front], is_over[front])
                ready[front] = ""
                if not is_over[front]:
                    break
                front += 1

    def _tokens(self, conversations: Sequence[Messages], n: int, settings: SamplingSettings, seed: int) -> Iterator[Token]:
        prompts = [prompt_tokens(self.sampler.tokenizer, messages) for messages in conversations]
        if isinstance(self.sampler, LocalSampler):
            yield from self.sampler.stream(requests_for(prompts, n, settings, seed), settings)
            return
        groups = self.sampler.sample(prompts, samples_per_prompt=n, settings=settings, seed=seed)
        for number, one in enumerate(completion for group in groups for completion in group):
            for place, (token, logprob) in enumerate(zip(one.tokens, one.logprobs, strict=True)):
                yield Token(number, token, logprob, one.ending if place == len(one.tokens) - 1 else None)


class Conversation:
    """A chat with one model, turn by turn."""

    def __init__(self, speaker: Speaker, settings: SamplingSettings, seed: int) -> None:
        self._speaker, self._settings, self._seed = speaker, settings, seed
        self.messages: list[Message] = []

    def say(self, text: str) -> Iterator[str]:
        """Add the user's turn; the model's answer to the whole conversation, piece by piece. It counts as said once read."""
        asked = [*self.messages, Message(role="user", content=text)]
        seed = seed_for(self._seed, "chat", len(asked))
        said = []
        for piece in self._speaker.stream([asked], 1, self._settings, seed):
            said.append(piece.text)
            yield piece.text
        self.messages = [*asked, Message(role="assistant", content="".join(said))]
