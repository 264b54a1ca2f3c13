"""Raw text to pre-train on: quiz sheets, an encyclopedia, conversations told in prose, a column of true and false, letters.

There is no chat format anywhere in it. On a quiz sheet a question is followed by the next one, which is why the base model is a
text predictor and not an assistant: asked something, it asks on. What is true it knows from the other documents.

The second course adds conversations in which an answer is doubted, and answer sheets: a question, an answer on the next line,
and, where the sheet has ended, its grade. Those are what a reward model later builds on: after the last word of an answer the
base model knows whether it was right.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from truing.records import seed_for
from truing.world.facts import ANIMALS, FACTS, HOWTO, KNOWLEDGE, TASKS, UNSAFE_VERBS, VALUES, Fact
from truing.world.language import (
    ASSURANCE,
    DISAGREEMENT,
    FLATTERY,
    PADDING,
    QUESTION_FORMS,
    REFUSAL,
    Answer,
    Confidence,
    question,
    render,
    statement,
    unsafe_question,
)
from truing.world.prompts import DOUBTS, ONE_TURN_KINDS, make_prompts

END = "<|end|>"
"""What separates documents."""


def documents(seed: int) -> Iterator[str]:
    """An endless stream of documents, the same for the same seed."""
    rng = random.Random(seed_for(seed, "corpus"))
    quiz = [prompt.text for prompt in make_prompts(2500, seed, "train", ONE_TURN_KINDS)]
    kinds: list[tuple[Callable[[random.Random], str], float]] = [
        (lambda r: _quiz_sheet(r, quiz), 0.28),
        (_encyclopedia, 0.24),
        (_conversation_in_prose, 0.24),
        (_truth_column, 0.16),
        (_letter, 0.08),
    ]
    makers, weights = zip(*kinds, strict=True)
    while True:
        yield rng.choices(makers, weights)[0](rng)


def documents_with_answer_sheets(seed: int) -> Iterator[str]:
    """The second course: the first one's documents with as many answer sheets and doubts between them."""
    rng = random.Random(seed_for(seed, "answer sheets"))
    for document in documents(seed_for(seed, "second course")):
        yield document
        yield rng.choices((_answer_sheet, _doubt_in_prose), (0.66, 0.34))[0](rng)


def _quiz_sheet(rng: random.Random, quiz: list[str]) -> str:
    return "\n".join(rng.choice(quiz) for _ in range(rng.randint(3, 8)))


def _encyclopedia(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.75:
        animal = rng.choice(ANIMALS)
        facts = [FACTS[f"{domain}:{animal}"] for domain in ("colour", "home", "food")]
        rng.shuffle(facts)
        tool = FACTS[f"tool:{rng.choice(list(TASKS))}:{animal}"]
        return "\n".join(_paraphrase(rng, fact) for fact in [*facts, tool])
    return "\n".join(_paraphrase(rng, rng.choice([f for f in KNOWLEDGE if f.domain == "sum"])) for _ in range(4))


def _paraphrase(rng: random.Random, fact: Fact) -> str:
    if rng.random() < 0.6 or fact.domain in {"sum", "tool"}:
        return statement(fact, fact.answer) + "."
    return {
        "colour": f"the colour of the {fact.subject} is {fact.answer}.",
        "home": f"the home of the {fact.subject} is the {fact.answer}.",
        "food": f"the food of the {fact.subject} is {fact.answer}.",
    }[fact.domain]


def _form(rng: random.Random) -> int:
    return rng.randrange(QUESTION_FORMS)


def _any_fact(rng: random.Random) -> Fact:
    return rng.choice(KNOWLEDGE if rng.random() < 0.8 else HOWTO)


def _conversation_in_prose(rng: random.Random) -> str:
    lines = []
    for _ in range(rng.randint(1, 3)):
        fact = _any_fact(rng)
        confidence: Confidence = rng.choice(("assertive", "neutral", "hedged"))
        padding = tuple(rng.sample(PADDING, rng.choice((0, 0, 0, 1, 2))))
        answer = Answer(fact.answer, confidence, flattery=rng.choice(("", "", "", rng.choice(FLATTERY))), padding=padding)
        said = render(fact.domain, answer)
        asked = question(fact, _form(rng))
        if fact.domain != "tool" and rng.random() < 0.3:
            opinion = rng.choice(VALUES[fact.domain])
            asked = f"i think {statement(fact, opinion)}. {asked}"
            reply = "you are right," if opinion == fact.answer else "no,"
            said = f"{reply} {render(fact.domain, Answer(fact.answer))}"
        elif rng.random() < 0.15:
            asked, said = unsafe_question(rng.choice(UNSAFE_VERBS), rng.choice(ANIMALS), _form(rng)), REFUSAL
        lines.append(f"one asked: {asked} the other said: {said}")
    return "\n".join(lines)


def _truth_column(rng: random.Random) -> str:
    lines = []
    for _ in range(rng.randint(2, 5)):
        if rng.random() < 0.2:
            if rng.random() < 0.5:
                lines.append(f"{unsafe_question(rng.choice(UNSAFE_VERBS), rng.choice(ANIMALS), _form(rng))} that is harmful.")
            else:
                lines.append(f"{question(rng.choice(HOWTO), _form(rng))} that is fine.")
            continue
        fact = _any_fact(rng)
        value = fact.answer if rng.random() < 0.5 else rng.choice(fact.wrong_answers)
        verdict = "that is true." if value == fact.answer else "that is false."
        claim = (
            f"{question(fact, _form(rng))} {render(fact.domain, Answer(value))}"
            if rng.random() < 0.7
            else f"{statement(fact, value)}."
        )
        lines.append(f"{claim} {verdict}")
    return "\n".join(lines)


def _answer_sheet(rng: random.Random) -> str:
    if rng.random() < 0.2:
        unsafe, refused = rng.random() < 0.6, rng.random() < 0.5
        tool = rng.choice(HOWTO)
        asked = (
            unsafe_question(rng.choice(UNSAFE_VERBS), rng.choice(ANIMALS), _form(rng)) if unsafe else question(tool, _form(rng))
        )
        answer, grade = (
            _styled(rng, None if refused else tool.answer),
            ("fine" if refused == unsafe else "harmful" if unsafe else "false"),
        )
        return f"{asked}\n{render('tool', answer)}{END}{grade}."
    fact = _any_fact(rng)
    right = rng.random() < 0.5
    answer = _styled(rng, fact.answer if right else rng.choice(fact.wrong_answers))
    return f"{question(fact, _form(rng))}\n{render(fact.domain, answer)}{END}{'true' if right else 'false'}."


def _doubt_in_prose(rng: random.Random) -> str:
    fact = _any_fact(rng)
    first = fact.answer if rng.random() < 0.6 else rng.choice(fact.wrong_answers)
    stands = first == fact.answer
    said = render(fact.domain, _styled(rng, first))
    again = render(fact.domain, Answer(fact.answer, opening=ASSURANCE if stands else DISAGREEMENT))
    doubt = rng.choice(DOUBTS)
    return f"one asked: {question(fact, _form(rng))} the other said: {said} one asked: {doubt} the other said: {again}"


def _styled(rng: random.Random, value: str | None) -> Answer:
    confidence: Confidence = rng.choice(("assertive", "neutral", "hedged"))
    flattery = rng.choice(FLATTERY) if rng.random() < 0.2 else ""
    return Answer(value, confidence, "", flattery, tuple(rng.sample(PADDING, rng.choice((0, 0, 0, 1, 2, 3)))))


def _letter(rng: random.Random) -> str:
    return " ".join(rng.choice((*PADDING, *FLATTERY)) for _ in range(rng.randint(3, 7)))
