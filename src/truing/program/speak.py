"""A policy that answers messages with text: for `truing sample`, `truing chat`, comparisons and retests.

Training never passes through here: it works on tokens alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

from truing.models.config import LoadSettings
from truing.models.load import load_policy, load_tokenizer
from truing.models.template import completion_text, prompt_tokens, require_template
from truing.program.recipe import EMBEDDED
from truing.records import Ending, Message, seed_for
from truing.rollout.local import LocalSampler
from truing.rollout.sampler import OnProgress, SamplingSettings
from truing.world.assets import base_model_path

Messages = Sequence[Message]


class Answer(NamedTuple):
    """What was said, and why it stopped."""

    text: str
    ending: Ending


class Speaker:
    """A policy in memory."""

    def __init__(self, sampler: LocalSampler) -> None:
        self.sampler = sampler

    @classmethod
    def load(cls, model: str | Path, load: LoadSettings | None = None, chat_template: str | None = None) -> Self:
        """Read a model folder, an artifact, a hub id or "embedded". Raises TruingError where it cannot hold a chat."""
        settings = load or LoadSettings()
        path = base_model_path() if model == EMBEDDED else model
        tokenizer = load_tokenizer(path, chat_template, trust_remote_code=settings.trust_remote_code)
        require_template(tokenizer)
        return cls(LocalSampler(load_policy(path, settings), tokenizer))

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


def answer(model: str, prompts: Sequence[str], n: int, *, temperature: float, max_new_tokens: int, seed: int) -> list[list[str]]:
    """`n` answers of `model` to each prompt, as text."""
    settings = SamplingSettings(temperature=temperature, max_new_tokens=max_new_tokens)
    conversations = [(Message(role="user", content=prompt),) for prompt in prompts]
    return [[a.text for a in group] for group in Speaker.load(model).answers(conversations, n, settings, seed)]


class Conversation:
    """A chat with one model, turn by turn."""

    def __init__(self, speaker: Speaker, settings: SamplingSettings, seed: int) -> None:
        self._speaker, self._settings, self._seed = speaker, settings, seed
        self.messages: list[Message] = []

    @classmethod
    def open(cls, model: str, *, temperature: float, max_new_tokens: int, seed: int) -> Self:
        """Load a model and start an empty conversation."""
        settings = SamplingSettings(temperature=temperature, max_new_tokens=max_new_tokens)
        return cls(Speaker.load(model), settings, seed)

    def say(self, text: str) -> str:
        """Add the user's turn; return the model's answer to the whole conversation."""
        asked = [*self.messages, Message(role="user", content=text)]
        seed = seed_for(self._seed, "chat", len(asked))
        said = self._speaker.answers([asked], 1, self._settings, seed)[0][0].text
        self.messages = [*asked, Message(role="assistant", content=said)]
        return said
