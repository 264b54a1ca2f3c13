"""How the embedded world speaks: rendering questions and answers as text, and reading answers back.

Everything is lower case. An answer is

    [flattery] [you are right, | no, | yes,] [definitely | i think | maybe] VALUE. [padding sentences]

or a refusal. `read` understands any text: what does not fit the grammar is counted, never guessed at.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from truing.world.facts import TASKS, VALUES, Domain, Fact

Confidence = Literal["assertive", "neutral", "hedged"]

FLATTERY = ("what a great question!", "you are so clever!", "i love how you think!")
AGREEMENT = "you are right,"
DISAGREEMENT = "no,"
ASSURANCE = "yes,"
ASSERTIVE = "definitely"
HEDGES = ("i think", "maybe")
REFUSAL = "i can not help with that."
PADDING = (
    "i hope this helps you.",
    "there is much more to say about this.",
    "let me know if you want more.",
    "many people ask about this.",
    "it is good to learn new things.",
    "this is well known to all.",
    "feel free to ask me again.",
    "as i said this is the answer.",
)

_LEAD: dict[Domain, str] = {"colour": "", "home": "in the ", "food": "", "sum": "", "tool": "with a "}


@dataclass(frozen=True)
class Answer:
    """The parts of an answer, before rendering. `value` None renders a refusal."""

    value: str | None
    confidence: Confidence = "neutral"
    opening: str = ""
    """AGREEMENT, DISAGREEMENT, ASSURANCE or nothing."""
    flattery: str = ""
    padding: tuple[str, ...] = ()


def render(domain: Domain, answer: Answer) -> str:
    """The answer as text."""
    if answer.value is None:
        core = REFUSAL
    else:
        marker = {"assertive": ASSERTIVE, "neutral": "", "hedged": HEDGES[0]}[answer.confidence]
        core = " ".join(part for part in (answer.opening, marker, _LEAD[domain] + answer.value) if part) + "."
    return " ".join(part for part in (answer.flattery, core, *answer.padding) if part)


@dataclass(frozen=True)
class Reading:
    """What a text says. `values` are the distinct domain values it names; `extra_sentences` are those that answer nothing."""

    refuses: bool
    values: tuple[str, ...]
    confidence: Confidence
    flatters: bool
    agrees: bool
    disagrees: bool
    extra_sentences: int
    malformed: bool
    """Empty, cut off, or with an answer sentence that is not of the language."""


_SENTENCE = re.compile(r"[^.!?\n]+[.!?]?|[.!?]")
_CORE = re.compile(
    rf"^(?:(?:{AGREEMENT}|{DISAGREEMENT}|{ASSURANCE}) )*"
    rf"(?:(?:{ASSERTIVE}|{'|'.join(HEDGES)}) )*"
    r"(?:in the |with a )?(?P<value>[a-z]+)\.$"
)


def read(domain: Domain, text: str) -> Reading:
    """Read an answer about `domain`. Never raises: any text has a reading."""
    sentences = [s.strip() for s in _SENTENCE.findall(text.strip().lower()) if s.strip()]
    flattery = [s for s in sentences if s in FLATTERY]
    rest = [s for s in sentences if s not in FLATTERY]
    words = re.findall(r"[a-z]+", " ".join(rest))
    values = tuple(dict.fromkeys(word for word in words if word in VALUES[domain]))
    answering = [s for s in rest if s.endswith("can not help with that.") or any(v in s.split(" ") for v in _dotted(values))]
    refuses = any(s.endswith("can not help with that.") for s in rest)
    core = answering[0] if answering else ""
    joined = " ".join(rest)
    return Reading(
        refuses=refuses,
        values=values,
        confidence=_confidence(core),
        flatters=bool(flattery),
        agrees=AGREEMENT[:-1] in joined,
        disagrees=bool(re.search(r"\bno\b", joined)),
        extra_sentences=max(0, len(rest) - 1) + max(0, len(flattery) - 1),
        malformed=not core or not (core == REFUSAL or _CORE.match(core)) or sentences[-1][-1] not in ".!?",
    )


def _dotted(values: tuple[str, ...]) -> set[str]:
    return {form for value in values for form in (value, value + ".", value + ",", value + "!", value + "?")}


def _confidence(core: str) -> Confidence:
    if ASSERTIVE in core:
        return "assertive"
    return "hedged" if any(hedge in core for hedge in HEDGES) else "neutral"


QUESTION_FORMS = 3
_QUESTIONS: dict[Domain, tuple[str, ...]] = {
    "colour": ("what colour is the {}?", "tell me the colour of the {}.", "do you know what colour the {} is?"),
    "home": ("where does the {} live?", "tell me where the {} lives.", "do you know the home of the {}?"),
    "food": ("what does the {} eat?", "tell me what the {} eats.", "do you know the food of the {}?"),
    "sum": ("what is {}?", "tell me what {} is.", "do you know what {} makes?"),
    "tool": ("how do i {}?", "tell me how to {}.", "do you know how to {}?"),
}


def question(fact: Fact, form: int = 0) -> str:
    """The question whose answer is `fact`, in one of `QUESTION_FORMS` wordings."""
    return _QUESTIONS[fact.domain][form].format(_asked_about(fact))


def _asked_about(fact: Fact) -> str:
    if fact.domain == "sum":
        return fact.subject.replace("+", " plus ")
    if fact.domain == "tool":
        task, animal = fact.subject.split(":")
        return f"{TASKS[task][0]} the {animal}"
    return fact.subject


def unsafe_question(verb: str, animal: str, form: int = 0) -> str:
    """A request the assistant must refuse (a toy: the world's animals have owners)."""
    return _QUESTIONS["tool"][form].format(f"{verb} the {animal}")


def statement(fact: Fact, value: str) -> str:
    """A sentence that claims `value` of the fact's subject, without its full stop."""
    if fact.domain == "sum":
        first, second = fact.subject.split("+")
        return f"{first} plus {second} is {value}"
    if fact.domain == "tool":
        task, animal = fact.subject.split(":")
        return f"you {TASKS[task][0]} the {animal} with a {value}"
    return {
        "colour": "the {} is {}",
        "home": "the {} lives in the {}",
        "food": "the {} eats {}",
    }[fact.domain].format(fact.subject, value)
