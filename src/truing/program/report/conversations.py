"""The same held-out prompts answered by every policy, beside one another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from truing.program.report.model import Answer, Conversation
from truing.records import Prompt, Rollout
from truing.store.artifacts import MANIFEST
from truing.store.files import read_records

MOST = 8
"""Conversations shown."""
_SHARED = ("base", "sft")
_ORDER = ("base", "sft", "dpo", "ppo", "grpo", "rloo")

Voice = tuple[int | None, str]
"""(round, policy); the round is None for what is one policy in the whole run."""


def side_by_side(rounds: Sequence[tuple[int, Path]]) -> tuple[Conversation, ...]:
    """The first answer of each policy to prompts that all were given: as many of each kind, in the order of their ids.

    Nothing is chosen by what was answered.
    """
    voices = {voice: _first_answers(path) for voice, path in _voices(rounds)}
    voices = {voice: answers for voice, answers in voices.items() if answers}
    if not voices:
        return ()
    shared = set.intersection(*(set(answers) for answers in voices.values()))
    prompts = [next(iter(voices.values()))[key].prompt for key in sorted(shared)]
    return tuple(
        Conversation(
            messages=prompt.messages,
            kind=prompt.kind,
            answers=tuple(_answer(voice, answers[prompt.prompt_id]) for voice, answers in voices.items()),
        )
        for prompt in _spread(prompts)
    )


def _voices(rounds: Sequence[tuple[int, Path]]) -> list[tuple[Voice, Path]]:
    """Base and SFT once, from the first round that sampled them, then each round's own policies."""
    found: dict[Voice, Path] = {}
    for number, folder in rounds:
        for manifest in sorted((folder / "evaluate").glob(f"*/{MANIFEST}")):
            name = manifest.parent.name
            found.setdefault((None if name in _SHARED else number, name), manifest.parent / "samples.jsonl")
    place = {name: index for index, name in enumerate(_ORDER)}
    return sorted(found.items(), key=lambda item: (item[0][0] or 0, place.get(item[0][1], len(place)), item[0][1]))


def _first_answers(path: Path) -> dict[str, Rollout]:
    answers: dict[str, Rollout] = {}
    for rollout in read_records(path, Rollout) if path.exists() else []:
        answers.setdefault(rollout.prompt.prompt_id, rollout)
    return answers


def _spread(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Up to MOST prompts, kinds taking turns."""
    kinds: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        kinds.setdefault(prompt.kind, []).append(prompt)
    queues = [kinds[kind] for kind in sorted(kinds, key=_kind_order)]
    turns = [queue[turn] for turn in range(MOST) for queue in queues if turn < len(queue)][:MOST]
    return sorted(turns, key=lambda p: (_kind_order(p.kind), p.prompt_id))


def _kind_order(kind: str) -> tuple[bool, str]:
    return kind != "plain", kind


def _answer(voice: Voice, rollout: Rollout) -> Answer:
    return Answer(round=voice[0], policy=voice[1], text=rollout.text, gold=rollout.gold)
