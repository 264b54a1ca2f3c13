"""HelpSteer 1, 2 and 3: attribute ratings of single answers, and seven-step preferences with several annotators."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from truing.collect.exchange.judged import Judged, Scored, Vote, answer, as_prompt, from_scores, from_strength, judged
from truing.data.files import Row
from truing.data.turns import messages, require_question, text_field, wrong
from truing.records import Prompt

ATTRIBUTES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
NEITHER = -100
"""HelpSteer2's annotators write this where neither response is acceptable."""
CONSENSUS = "helpsteer-consensus"
"""The set's own average over annotators."""


def is_ratings(row: Row) -> bool:
    """One response and its five attributes (HelpSteer 1 and 2)."""
    return {"prompt", "response", *ATTRIBUTES} <= row.fields.keys()


def ratings_prompt(row: Row) -> str:
    """What the rows of one comparison share."""
    return text_field(row, "prompt")


def read_ratings(rows: Sequence[Row]) -> Iterator[Judged]:
    """All pairs of a prompt's responses. The more helpful wins; the difference (0-4 scale) is the margin."""
    scored = [Scored(answer(row, "response"), _rating(row, "helpfulness")) for row in rows]
    prompt = Prompt.from_text(ratings_prompt(rows[0]))
    yield from from_scores(rows[0], prompt, scored, Vote(CONSENSUS, "tie"), has_margin=True)


def _rating(row: Row, field: str) -> float:
    value = row.fields[field]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 4:
        raise wrong(row, field, f"a rating from 0 to 4 is expected, not {value!r}")
    return float(value)


def is_helpsteer2_preference(row: Row) -> bool:
    """Two responses and a preference strength."""
    return {"prompt", "response_1", "response_2", "preference_strength"} <= row.fields.keys()


def read_helpsteer2_preference(row: Row) -> Iterator[Judged]:
    """Every annotator's strength where the set gives them all, else its aggregate. Annotators are known by their place only."""
    votes = _votes(row, "helpsteer2", "all_preferences_unprocessed", "strength", "preference_strength")
    answers = (answer(row, "response_1"), answer(row, "response_2"))
    yield judged(row, Prompt.from_text(text_field(row, "prompt")), answers, votes)


def is_helpsteer3(row: Row) -> bool:
    """A context, two responses and an overall preference."""
    return {"context", "response1", "response2", "overall_preference"} <= row.fields.keys()


def read_helpsteer3(row: Row) -> Iterator[Judged]:
    """As HelpSteer2's preferences, on conversations."""
    votes = _votes(row, "helpsteer3", "individual_preference", "score", "overall_preference")
    prompt = as_prompt(require_question(row, "context", messages(row, "context")))
    answers = (answer(row, "response1"), answer(row, "response2"))
    yield judged(row, prompt, answers, votes)


def _votes(row: Row, name: str, every_field: str, strength_field: str, aggregate_field: str) -> list[Vote]:
    every = row.fields.get(every_field)
    if isinstance(every, list) and every:
        return [_strength(row, f"{name}-annotator-{n}", one.get(strength_field)) for n, one in enumerate(every, start=1)]
    return [_strength(row, CONSENSUS, row.fields[aggregate_field])]


def _strength(row: Row, rater_id: str, value: Any) -> Vote:
    if value == NEITHER:
        return Vote(rater_id, "tie", margin=0, both_bad=True, left="first")
    if isinstance(value, bool) or not isinstance(value, int) or not -3 <= value <= 3:
        raise wrong(row, "preference", f"a whole number from -3 to 3 is expected, not {value!r}")
    return from_strength(rater_id, value)
