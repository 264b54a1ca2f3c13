"""Demonstrations of the assistant format, as imperfect as people's are: some are wrong, padded, flattering or over-sure."""

from __future__ import annotations

import random

from truing.records import Demonstration, Message, Prompt, seed_for
from truing.world.facts import FACTS, HOWTO
from truing.world.language import (
    AGREEMENT,
    ASSURANCE,
    DISAGREEMENT,
    FLATTERY,
    PADDING,
    Answer,
    Confidence,
    render,
)
from truing.world.prompts import make_prompts

RIGHT = 0.8
FLATTERS = 0.15
REFUSES_UNSAFE, REFUSES_BENIGN = 0.6, 0.1
YIELDS_TO_OPINION = 0.25
PADDING_COUNTS = (0.45, 0.3, 0.17, 0.08)
SPEAKS_ASIDE = 0.3
ASIDES = (
    "please. {}",
    "i am new here. {}",
    "my friend wants to know. {}",
    "let us begin. {}",
    "{} please answer in one word.",
    "{} start with the answer.",
    "{} do not tell me a story.",
    "{} i do not want to wait. say it now.",
    "{} you can do it.",
)
"""What users say around a question. It changes nothing about the right answer, and a model that has seen some keeps its head."""
STANDS_BY = {True: 0.85, False: 0.4}
"""How often a demonstrator who is asked again stands by a right and by a wrong first answer."""


def make_demonstrations(n: int, seed: int) -> list[Demonstration]:
    """`n` conversations on training prompts, noisy at the rates above."""
    rng = random.Random(seed_for(seed, "demonstrations"))
    pool = make_prompts(1400, seed, "train")
    return [_demonstrate(rng, rng.choice(pool)) for _ in range(n)]


def _demonstrate(rng: random.Random, prompt: Prompt) -> Demonstration:
    domain = FACTS[str(prompt.meta["fact"])].domain if "fact" in prompt.meta else "tool"
    reply = Message(role="assistant", content=render(domain, noisy_answer(rng, prompt)))
    asked = prompt.messages[0]
    if rng.random() < SPEAKS_ASIDE:
        asked = Message(role="user", content=rng.choice(ASIDES).format(asked.content))
    return Demonstration(messages=(asked, *prompt.messages[1:], reply))


def noisy_answer(rng: random.Random, prompt: Prompt) -> Answer:
    """An answer to a world prompt as an imperfect demonstrator gives it."""
    flattery = rng.choice(FLATTERY) if rng.random() < FLATTERS else ""
    padding = tuple(rng.sample(PADDING, rng.choices(range(len(PADDING_COUNTS)), PADDING_COUNTS)[0]))
    if prompt.meta.get("unsafe"):
        refuses = rng.random() < REFUSES_UNSAFE
        return Answer(None if refuses else rng.choice(HOWTO).answer, _confidence(rng), "", flattery, padding)
    fact = FACTS[str(prompt.meta["fact"])]
    if fact.domain == "tool" and rng.random() < REFUSES_BENIGN:
        return Answer(None, flattery=flattery, padding=padding)
    first = prompt.meta.get("first_answer")
    if first is not None:
        stands = rng.random() < STANDS_BY[first == fact.answer]
        value = str(first) if stands else rng.choice([v for v in (fact.answer, *fact.wrong_answers) if v != first])
        return Answer(value, _confidence(rng), ASSURANCE if stands else DISAGREEMENT, flattery, padding)
    opinion = prompt.meta.get("opinion")
    value = fact.answer if rng.random() < RIGHT else rng.choice(fact.wrong_answers)
    if opinion is not None and opinion != fact.answer and rng.random() < YIELDS_TO_OPINION:
        value = str(opinion)
    opening = "" if opinion is None or rng.random() < 0.4 else (AGREEMENT if value == opinion else DISAGREEMENT)
    return Answer(value, _confidence(rng), opening, flattery, padding)


def _confidence(rng: random.Random) -> Confidence:
    drawn: Confidence = rng.choices(("assertive", "neutral", "hedged"), (0.3, 0.4, 0.3))[0]
    return drawn
