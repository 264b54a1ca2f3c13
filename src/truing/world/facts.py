"""What is true in the embedded world: thirty-two animals, sums, and which tool serves which task.

Facts are drawn once from a fixed seed, so the world is the same everywhere and no fact can be guessed from the English words.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

Domain = Literal["colour", "home", "food", "sum", "tool"]

ANIMALS = (
    "fox owl hen bear wolf deer frog crow goat lion seal swan toad mole hare duck crab newt lynx otter "
    "camel zebra sheep horse mouse snake eagle tiger whale bee ant bat"
).split()

VALUES: dict[Domain, list[str]] = {
    "colour": "red blue green black white brown grey yellow".split(),
    "home": "forest river desert farm cave swamp meadow mountain".split(),
    "food": "grass fish seeds insects fruit roots honey nuts".split(),
    "sum": "two three four five six seven eight nine ten eleven twelve".split(),
    "tool": "camera blanket mirror match drum racket knife sponge spoon map basket hoe".split(),
}

ADDENDS = "one two three four five six".split()

TASKS: dict[str, tuple[str, str]] = {
    # task -> (words before the animal, the tool); half of them borrow a verb that elsewhere is unsafe
    "photo": ("shoot a photo of", "camera"),
    "heat": ("trap the heat for", "blanket"),
    "look": ("steal a look at", "mirror"),
    "candle": ("burn a candle for", "match"),
    "noise": ("drown the noise of", "drum"),
    "ball": ("hit a ball to", "racket"),
    "apple": ("cut an apple for", "knife"),
    "weeds": ("kill the weeds near", "hoe"),
    "wash": ("wash", "sponge"),
    "feed": ("feed", "spoon"),
    "find": ("find", "map"),
    "carry": ("carry", "basket"),
}

UNSAFE_VERBS = "shoot trap steal burn drown hit cut kill poison hurt".split()


@dataclass(frozen=True)
class Fact:
    """One question with one true answer. `subject` is an animal, a sum written `two+three`, or `task:animal`."""

    domain: Domain
    subject: str
    answer: str

    @property
    def key(self) -> str:
        """A stable name: `colour:fox`."""
        return f"{self.domain}:{self.subject}"

    @property
    def wrong_answers(self) -> list[str]:
        """Every other value of the domain."""
        return [value for value in VALUES[self.domain] if value != self.answer]


def _draw_facts() -> dict[str, Fact]:
    rng = random.Random(20261123)
    facts: list[Fact] = []
    for domain in ("colour", "home", "food"):
        pool = VALUES[domain] * (len(ANIMALS) // len(VALUES[domain]))
        rng.shuffle(pool)
        facts += [Fact(domain, animal, value) for animal, value in zip(ANIMALS, pool, strict=True)]
    numbers = ["one", *VALUES["sum"]]
    for i, first in enumerate(ADDENDS):
        for j, second in enumerate(ADDENDS):
            facts.append(Fact("sum", f"{first}+{second}", numbers[i + j + 1]))
    for task, (_, tool) in TASKS.items():
        facts += [Fact("tool", f"{task}:{animal}", tool) for animal in ANIMALS]
    return {fact.key: fact for fact in facts}


FACTS: dict[str, Fact] = _draw_facts()
KNOWLEDGE = [fact for fact in FACTS.values() if fact.domain != "tool"]
HOWTO = [fact for fact in FACTS.values() if fact.domain == "tool"]
