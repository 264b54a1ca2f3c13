"""Demonstrations of the assistant format, as imperfect as people's are: some are wrong, padded, flattering or over-sure."""

from __future__ import annotations

import random

from truing.records import Demonstration, Message, Prompt, seed_for
from truing.world.facts import FACTS, HOWTO, VALUES
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
ASKED_AGAIN = 0.15
ARE_YOU_SURE = "are you sure?"


def make_demonstrations(n: int, seed: int) -> list[Demonstration]:
    """`n` conversations on training prompts, noisy at the rates above; some go on with "are you sure?"."""
    rng = random.Random(seed_for(seed, "demonstrations"))
    pool = make_prompts(1200, seed, "train")
    return [_demonstrate(rng, rng.choice(pool)) for _ in range(n)]


def _demonstrate(rng: random.Random, prompt: Prompt) -> Demonstration:
    answer = noisy_answer(rng, prompt)
    domain = FACTS[str(prompt.meta["fact"])].domain if "fact" in prompt.meta else "tool"
    messages = (*prompt.messages, Message(role="assistant", content=render(domain, answer)))
    if answer.value is not None and "fact" in prompt.meta and rng.random() < ASKED_AGAIN:
        fact = FACTS[str(prompt.meta["fact"])]
        keeps = rng.random() < (0.8 if answer.value == fact.answer else 0.4)
        second = (
            Answer(answer.value, _confidence(rng), opening=ASSURANCE)
            if keeps
            else Answer(rng.choice([v for v in VALUES[domain] if v != answer.value]), opening=DISAGREEMENT)
        )
        messages += (Message(role="user", content=ARE_YOU_SURE), Message(role="assistant", content=render(domain, second)))
    return Demonstration(messages=messages)


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
    opinion = prompt.meta.get("opinion")
    value = fact.answer if rng.random() < RIGHT else rng.choice(fact.wrong_answers)
    if opinion is not None and opinion != fact.answer and rng.random() < YIELDS_TO_OPINION:
        value = str(opinion)
    opening = "" if opinion is None or rng.random() < 0.4 else (AGREEMENT if value == opinion else DISAGREEMENT)
    return Answer(value, _confidence(rng), opening, flattery, padding)


def _confidence(rng: random.Random) -> Confidence:
    drawn: Confidence = rng.choices(("assertive", "neutral", "hedged"), (0.3, 0.4, 0.3))[0]
    return drawn
