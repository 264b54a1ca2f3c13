"""Small preference sets and demonstrations for the tiny model, and ways to kill a run."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import pytest

from truing.records import Demonstration, Message, PreferencePair, Prompt
from truing.store.files import write_records

NOUNS = ["fox", "owl", "hen", "swan"]
COLOURS = ["red", "brown", "grey", "green"]


class Killed(BaseException):
    """Stands for a kill: nothing in the package catches it."""


class KillAt:
    """A progress watcher that ends the run when `done` gets there."""

    def __init__(self, done: int) -> None:
        self._done = done

    def update(self, done: int, total: int, headline: Mapping[str, float | str]) -> None:
        if done == self._done:
            raise Killed


def unhurried(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    """Rows of metrics without how long anything took."""
    return [{name: row[name] for name in row if not name.endswith(("_s", "floor_fraction"))} for row in rows]


def make_pairs(n: int, seed: int) -> list[PreferencePair]:
    """Short answers are preferred to padded ones."""
    draw = random.Random(seed)
    pairs = []
    for index in range(n):
        noun, colour = draw.choice(NOUNS), draw.choice(COLOURS)
        prompt = Prompt.from_text(f"what colour is the {noun}? {seed} {index}")
        pairs.append(
            PreferencePair(
                comparison_id=f"{seed}-{index}",
                prompt=prompt,
                chosen=f"{colour}.",
                rejected=f"{colour}. i hope this helps you.",
                label=draw.choice([1.0, 0.8]),
                weight=draw.choice([1.0, 2.0]),
            )
        )
    return pairs


@pytest.fixture(scope="session")
def preferences_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("preferences")
    write_records(path / "train.jsonl", make_pairs(24, 1))
    write_records(path / "heldout.jsonl", make_pairs(8, 2))
    return path


@pytest.fixture(scope="session")
def demonstrations() -> list[Demonstration]:
    draw = random.Random(0)
    rows = []
    for index in range(24):
        noun, colour = draw.choice(NOUNS), draw.choice(COLOURS)
        question = Message(role="user", content=f"what colour is the {noun}? {index}")
        rows.append(Demonstration(messages=(question, Message(role="assistant", content=f"{colour}."))))
    return rows
