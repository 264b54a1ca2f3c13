"""What a rater answers: one part for each task of the campaign, stored in the item's own order of responses.

The browser knows places on the screen only. `stored(answer, order)` turns an answer given by place into stored order, and
`on_screen` back; `order[i]` is the index of the response shown at place i.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field, TypeAdapter, model_validator

from truing.records import Choice, Record

MAX_TEXT = 20_000
Value = TypeVar("Value")
Text = Annotated[str, Field(max_length=MAX_TEXT)]


class PairAnswer(Record):
    """Which of two is better, and by how many steps. `margin` is 0 for a tie; `both_bad` goes with a tie."""

    type: Literal["pair"] = "pair"
    choice: Choice
    margin: int = Field(ge=0, le=4)
    both_bad: bool = False

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if (self.choice == "tie") != (self.margin == 0):
            raise ValueError("margin is 0 for a tie and at least 1 otherwise")
        if self.both_bad and self.choice != "tie":
            raise ValueError("both_bad goes with a tie")
        return self

    def permuted(self, places: Sequence[int]) -> Self:
        """The same answer with response i renamed `places[i]`."""
        if self.choice == "tie" or places[0] == 0:
            return self
        return self.model_copy(update={"choice": "second" if self.choice == "first" else "first"})


class RankingAnswer(Record):
    """`ranks[i]` is the rank of response i: 1 = best; equal ranks are ties."""

    type: Literal["ranking"] = "ranking"
    ranks: tuple[Annotated[int, Field(ge=1, le=9)], ...] = Field(min_length=2, max_length=9)

    def permuted(self, places: Sequence[int]) -> Self:
        """The same answer with response i renamed `places[i]`."""
        return self.model_copy(update={"ranks": _moved(self.ranks, places)})


class ScalesAnswer(Record):
    """`scores[i]` is what each attribute of response i was scored."""

    type: Literal["scales"] = "scales"
    scores: tuple[dict[str, int], ...] = Field(min_length=1, max_length=9)

    def permuted(self, places: Sequence[int]) -> Self:
        """The same answer with response i renamed `places[i]`."""
        return self.model_copy(update={"scores": _moved(self.scores, places)})


class CritiqueAnswer(Record):
    """Words on the whole comparison, and on each response where the campaign asks."""

    type: Literal["critique"] = "critique"
    text: Text = ""
    of_responses: tuple[Text, ...] = Field(default=(), max_length=9)

    def permuted(self, places: Sequence[int]) -> Self:
        """The same answer with response i renamed `places[i]`."""
        return self.model_copy(update={"of_responses": _moved(self.of_responses, places)}) if self.of_responses else self


class RewriteAnswer(Record):
    """Response `of`, written better."""

    type: Literal["rewrite"] = "rewrite"
    of: int = Field(ge=0, le=8)
    text: Text

    def permuted(self, places: Sequence[int]) -> Self:
        """The same answer with response i renamed `places[i]`."""
        return self.model_copy(update={"of": places[self.of]})


Answer = Annotated[PairAnswer | RankingAnswer | ScalesAnswer | CritiqueAnswer | RewriteAnswer, Field(discriminator="type")]
Answers = TypeAdapter(tuple[Answer, ...])


def stored(answers: Sequence[Answer], order: Sequence[int]) -> tuple[Answer, ...]:
    """Answers given by place on the screen, in stored order."""
    return tuple(answer.permuted(order) for answer in answers)


def on_screen(answers: Sequence[Answer], order: Sequence[int]) -> tuple[Answer, ...]:
    """Stored answers, by place on the screen."""
    places = tuple(order.index(i) for i in range(len(order)))
    return tuple(answer.permuted(places) for answer in answers)


def _moved(values: Sequence[Value], places: Sequence[int]) -> tuple[Value, ...]:
    return tuple(value for _, value in sorted(zip(places, values, strict=True), key=lambda pair: pair[0]))
