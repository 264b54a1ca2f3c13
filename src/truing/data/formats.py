"""Demonstrations, preference pairs and prompts, read from the formats people keep them in.

Pairs: TRL's standard (prompt, chosen, rejected as text) and conversational format, with or without an explicit prompt;
hh-rlhf transcripts; UKPConvArg1 with its votes; Truing's own records. Columns not named here are left alone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from truing.data.files import Row, read_rows
from truing.data.turns import is_transcript, messages, require_question, text_field, wrong
from truing.errors import TruingError
from truing.records import Choice, Demonstration, Message, PreferencePair, Prompt, content_hash

RecordT = TypeVar("RecordT", bound=BaseModel)
ItemT = TypeVar("ItemT")
_ARGUMENTS: dict[Any, Choice] = {"a1": "first", "equal": "tie", "a2": "second"}


class ArgumentVote(NamedTuple):
    """One rater's vote on two arguments; `submitted_at` as the file has it."""

    rater_id: str
    choice: Choice
    submitted_at: str


class VotedArguments(NamedTuple):
    """A row of UKPConvArg1: which of two arguments for a stance convinces more, and every vote."""

    prompt: Prompt
    first: str
    second: str
    votes: tuple[ArgumentVote, ...]


class Sides(NamedTuple):
    """What is answered, and the two answers."""

    prompt: tuple[Message, ...]
    chosen: str
    rejected: str


def read_demonstrations(path: str | Path) -> list[Demonstration]:
    """Conversations to imitate: `messages`, or `prompt` with `completion`. Raises TruingError naming file, line and field."""
    return [_demonstration(row) for row in read_rows(path)]


def read_prompts(path: str | Path) -> list[Prompt]:
    """What a policy is to answer: `prompt` or `messages`, ending with a user's turn; `kind` and `group` are kept."""
    return [_prompt(row) for row in read_rows(path)]


def read_pairs(path: str | Path, *, skipped: list[str] | None = None) -> list[PreferencePair]:
    """Judged pairs; optional columns are `label` (probability that chosen is preferred), `weight`, `id`, `group`, `kind` and
    `ranking` (what the pairs of one ranking share).

    Raises TruingError naming file, line and field; a row with one side only, or two equal sides, is such an error. Where a
    list is given as `skipped`, rows that cannot be used are left out and their messages put there instead.
    """
    return _each(read_rows(path), _pair, skipped)


def _each(rows: list[Row], read: Callable[[Row], ItemT], skipped: list[str] | None) -> list[ItemT]:
    items = []
    for row in rows:
        try:
            items.append(read(row))
        except TruingError as error:
            if skipped is None:
                raise
            skipped.append(str(error))
    if not items:
        raise TruingError(f"none of {len(rows)} rows can be used; the first: {(skipped or [''])[0]}")
    return items


def _demonstration(row: Row) -> Demonstration:
    if "messages" in row.fields or "completion" not in row.fields:
        turns = messages(row, "messages")
    else:
        turns = (*require_question(row, "prompt", messages(row, "prompt")), *_answer_turns(row, "completion"))
    if not any(turn.role == "assistant" for turn in turns):
        raise wrong(row, "messages", "no assistant's turn: there is nothing to imitate")
    return Demonstration(messages=turns)


def _answer_turns(row: Row, field: str) -> tuple[Message, ...]:
    if isinstance(row.fields[field], list):
        return messages(row, field)
    return (Message(role="assistant", content=text_field(row, field)),)


def _prompt(row: Row) -> Prompt:
    if "prompt_id" in row.fields:
        return _own_record(row, Prompt)
    field = "messages" if "messages" in row.fields else "prompt"
    return _as_prompt(row, require_question(row, field, messages(row, field)))


def _as_prompt(row: Row, turns: tuple[Message, ...], group: Any = None) -> Prompt:
    group = row.fields.get("group", group)
    kind = row.fields.get("kind") or "plain"
    return Prompt.from_messages(turns, str(kind), {} if group is None else {"group": str(group)})


def _pair(row: Row) -> PreferencePair:
    if "comparison_id" in row.fields:
        return _own_record(row, PreferencePair)
    if "votes" in row.fields and "a1" in row.fields:
        return _voted_pair(row)
    found = sides(row)
    return _judged(row, _as_prompt(row, found.prompt), found.chosen, found.rejected)


def _judged(row: Row, prompt: Prompt, chosen: str, rejected: str, **more: Any) -> PreferencePair:
    if chosen == rejected:
        raise wrong(row, "rejected", "is the same as chosen: nothing is preferred; remove the row")
    identity = row.fields.get("id") or content_hash([prompt.prompt_id, chosen, rejected])[:16]
    values = {name: row.fields[name] for name in ("label", "weight") if row.fields.get(name) is not None}
    values["ranking"] = str(row.fields.get("ranking") or "")
    record = {"comparison_id": str(identity), "prompt": prompt, "chosen": chosen, "rejected": rejected, **values, **more}
    return _validated(row, PreferencePair, record)


def sides(row: Row) -> Sides:
    """What is answered and the two answers, in any of TRL's shapes or as hh-rlhf transcripts. Raises TruingError."""
    for field in ("chosen", "rejected"):
        if row.fields.get(field) in (None, "", []):
            raise wrong(row, field, "missing: a preference needs both sides, chosen and rejected")
    if "prompt" in row.fields:
        prompt = require_question(row, "prompt", messages(row, "prompt"))
        return Sides(prompt, _last_answer(row, "chosen", prompt), _last_answer(row, "rejected", prompt))
    for field in ("chosen", "rejected"):
        if not isinstance(row.fields[field], list) and not is_transcript(row.fields[field]):
            raise wrong(row, "prompt", f"missing, and '{field}' is no conversation that would hold it")
    chosen, rejected = messages(row, "chosen"), messages(row, "rejected")
    for field, turns in (("chosen", chosen), ("rejected", rejected)):
        if turns[-1].role != "assistant":
            raise wrong(row, field, "must end with an assistant's turn")
    if chosen[:-1] != rejected[:-1]:
        raise wrong(row, "rejected", "the conversations differ before their last turn: two answers to one prompt are expected")
    return Sides(require_question(row, "chosen", chosen[:-1]), chosen[-1].content, rejected[-1].content)


def _last_answer(row: Row, field: str, prompt: tuple[Message, ...]) -> str:
    """The answer in `field`: text, one assistant's turn, or the whole conversation with the prompt in front."""
    if not isinstance(row.fields[field], list):
        return text_field(row, field)
    turns = messages(row, field)
    if turns[-1].role != "assistant" or turns[:-1] not in ((), prompt):
        raise wrong(row, field, "one assistant's turn is expected, or the prompt followed by one")
    return turns[-1].content


def voted_arguments(row: Row) -> VotedArguments:
    """Read a row of UKPConvArg1; the prompt's group is the debate. Raises TruingError."""
    debate, stance = text_field(row, "prompt"), text_field(row, "stance")
    prompt = _as_prompt(row, (Message(role="user", content=f"{debate}: {stance}"),), group=debate)
    found = row.fields.get("votes")
    if not isinstance(found, list) or not found or not all(_is_vote(vote) for vote in found):
        raise wrong(row, "votes", f"a list of votes with choice {', '.join(_ARGUMENTS)} is expected, not {found!r:.60}")
    votes = [
        ArgumentVote(str(vote.get("rater") or "unidentified"), _ARGUMENTS[vote["choice"]], str(vote.get("submitted_at") or ""))
        for vote in found
    ]
    return VotedArguments(prompt, text_field(row, "a1"), text_field(row, "a2"), tuple(votes))


def _is_vote(vote: Any) -> bool:
    return isinstance(vote, dict) and vote.get("choice") in _ARGUMENTS


def _voted_pair(row: Row) -> PreferencePair:
    """The votes as a soft label; ties count half."""
    prompt, first, second, votes = voted_arguments(row)
    share = sum({"first": 1.0, "tie": 0.5, "second": 0.0}[vote.choice] for vote in votes) / len(votes)
    chosen, rejected = (first, second) if share >= 0.5 else (second, first)
    return _judged(row, prompt, chosen, rejected, label=max(share, 1 - share), judgments=len(votes))


def _own_record(row: Row, cls: type[RecordT]) -> RecordT:
    return _validated(row, cls, {name: value for name, value in row.fields.items() if name in cls.model_fields})


def _validated(row: Row, cls: type[RecordT], values: dict[str, Any]) -> RecordT:
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        raise wrong(
            row, ".".join(str(part) for part in problem["loc"]), f"{problem['msg']} (got {problem['input']!r:.60})"
        ) from None
