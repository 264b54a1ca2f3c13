"""What every reader yields: a comparison with the judgments it got, in Truing's own records."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from truing.data.files import Row
from truing.data.turns import wrong
from truing.records import Choice, Comparison, Judgment, Message, Prompt, Record, Side, content_hash

LARGEST_MARGIN = 3


class Remark(Record):
    """What a rater answered beside comparing: scores, a critique, a rewrite. `content` is JSON, in the item's stored order.

    `item_id` is the comparison's id, or for a ranking what comes before the `#`.
    """

    judgment_id: str
    item_id: str
    rater_id: str
    type: str
    content: str


class Judged(NamedTuple):
    """A comparison and its judgments."""

    comparison: Comparison
    judgments: tuple[Judgment, ...]
    remarks: tuple[Remark, ...] = ()


class Vote(NamedTuple):
    """One rater's answer as a set records it, in the set's order of the two answers.

    `left` = the answer shown at left, None where the set does not say. `margin` as in Judgment.
    """

    rater_id: str
    choice: Choice
    margin: int | None = None
    both_bad: bool = False
    left: Side | None = None
    judged_at: str = ""
    simulated: bool = False


class Answer(NamedTuple):
    """A completion and who wrote it."""

    text: str
    policy: str = "unknown"


class Scored(NamedTuple):
    """A completion with a score; higher is better."""

    answer: Answer
    score: float


def judged(
    row: Row,
    prompt: Prompt,
    answers: tuple[Answer, Answer],
    votes: Sequence[Vote],
    *,
    group: str = "",
    gold: Choice | None = None,
) -> Judged:
    """A comparison identified by its content, as `votes` judged it.

    Judgments carry confidence 1 (0.5 for a tie): sets record what was chosen, not how sure the rater was. Raises TruingError
    where both answers are equal.
    """
    first, second = answers
    if first.text == second.text:
        raise wrong(row, "answers", "both are the same text: nothing can be preferred; remove the row")
    comparison = Comparison(
        comparison_id=content_hash([prompt.prompt_id, first.text, second.text])[:16],
        prompt=prompt,
        first=first.text,
        second=second.text,
        policies=(first.policy, second.policy),
        source=f"file:{Path(row.place).name}",
        group=group,
        gold=gold,
    )
    return Judged(comparison, tuple(_judgment(comparison, vote, number) for number, vote in enumerate(votes)))


def _judgment(comparison: Comparison, vote: Vote, number: int) -> Judgment:
    identity = [comparison.comparison_id, comparison.source, vote.rater_id, number]
    return Judgment(
        judgment_id=content_hash(identity)[:16],
        comparison_id=comparison.comparison_id,
        rater_id=vote.rater_id,
        guideline_hash="",
        left=vote.left,
        choice=vote.choice,
        confidence=0.5 if vote.choice == "tie" else 1.0,
        simulated=vote.simulated,
        margin=vote.margin,
        both_bad=vote.both_bad,
        judged_at=vote.judged_at,
    )


def from_preferred(row: Row, prompt: Prompt, chosen: Answer, rejected: Answer, vote: Vote, *, group: str = "") -> Judged:
    """A pair known only as chosen and rejected. `vote.choice` is "first" for chosen, or a tie.

    Which is stored first follows from the texts, not from the preference: what is stored must not give the answer away.
    """
    if content_hash(chosen.text) <= content_hash(rejected.text):
        return judged(row, prompt, (chosen, rejected), (vote,), group=group)
    turned = vote if vote.choice == "tie" else vote._replace(choice="second")
    return judged(row, prompt, (rejected, chosen), (turned,), group=group)


def from_scores(row: Row, prompt: Prompt, scored: Sequence[Scored], vote: Vote, *, has_margin: bool = False) -> list[Judged]:
    """All C(K,2) pairs of a prompt's K scored answers, sharing a `group`; equal texts make no pair.

    `vote` gives everything but the choice, and the margin where scores are on a 0-4 scale: their difference, at most 3.
    """
    group = f"{prompt.prompt_id}-{content_hash([s.answer.text for s in scored])[:8]}"
    pairs = []
    for one, other in combinations(scored, 2):
        if one.answer.text == other.answer.text:
            continue
        gap = one.score - other.score
        choice: Choice = "tie" if gap == 0 else "first" if gap > 0 else "second"
        margin = _margin(gap) if has_margin else None
        pairs.append(judged(row, prompt, (one.answer, other.answer), (vote._replace(choice=choice, margin=margin),), group=group))
    return pairs


def _margin(gap: float) -> int:
    return 0 if gap == 0 else min(max(round(abs(gap)), 1), LARGEST_MARGIN)


def from_strength(rater_id: str, strength: int) -> Vote:
    """A seven-step preference: -3 = the first answer is much better ... 3 = the second is. Its pages show the first at left."""
    choice: Choice = "tie" if strength == 0 else "first" if strength < 0 else "second"
    return Vote(rater_id, choice, margin=abs(strength), left="first")


def as_prompt(turns: tuple[Message, ...], group: str | None = None) -> Prompt:
    """The turns as a prompt; `group` is what must not lie on both sides of a split (a debate, a source)."""
    return Prompt.from_messages(turns, meta={} if group is None else {"group": group})


def answer(row: Row, field: str, policy: str = "unknown") -> Answer:
    """A completion as the row has it; it may be empty, for models do answer nothing. Raises TruingError where it is no text."""
    text = row.fields.get(field)
    if not isinstance(text, str):
        raise wrong(row, field, f"text is expected, not {'nothing' if text is None else type(text).__name__}")
    return Answer(text, policy)


def user_prompt(text: str) -> Prompt:
    """One user's turn as a prompt."""
    return Prompt.from_text(text)
