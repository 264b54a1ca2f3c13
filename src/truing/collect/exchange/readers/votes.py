"""Sets in which several people voted on two answers: UKPConvArg1, PandaLM, Chatbot Arena."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from truing.collect.exchange.judged import Answer, Judged, Vote, answer, as_prompt, judged, user_prompt
from truing.data.files import Row
from truing.data.formats import voted_arguments
from truing.data.turns import messages, text_field, wrong
from truing.records import Choice, Message


def is_ukpconvarg1(row: Row) -> bool:
    """Two arguments and the votes on them."""
    return {"a1", "a2", "votes"} <= row.fields.keys()


def read_ukpconvarg1(row: Row) -> Iterator[Judged]:
    """Which of two arguments for a stance convinces more; the debate is the prompt's group. Raters saw them as A1 and A2."""
    prompt, first, second, votes = voted_arguments(row)
    cast = [Vote(v.rater_id, v.choice, left="first", judged_at=_ukp_time(row, v.submitted_at)) for v in votes]
    yield judged(row, prompt, (Answer(first), Answer(second)), cast)


def _ukp_time(row: Row, text: str) -> str:
    if not text:
        return ""
    try:
        return _iso(datetime.strptime(text, "%Y-%m-%d %H:%M:%S.%f UTC").replace(tzinfo=UTC))
    except ValueError:
        raise wrong(row, "votes.submitted_at", f"a time such as 2016-01-31 16:59:52.0 UTC is expected, not {text!r}") from None


def is_pandalm(row: Row) -> bool:
    """Two responses and three annotators' columns."""
    return {"response1", "response2", "annotator1"} <= row.fields.keys()


def read_pandalm(row: Row) -> Iterator[Judged]:
    """An instruction (with an input, maybe), two responses, and what each annotator said: 0 tie, 1, 2."""
    instruction, context = text_field(row, "instruction"), row.fields.get("input") or ""
    prompt = user_prompt(f"{instruction}\n\n{context}" if context else instruction)
    names = sorted(field for field in row.fields if field.startswith("annotator"))
    votes = [Vote(name, _pandalm_choice(row, name), left="first") for name in names if row.fields[name] is not None]
    models = str(row.fields.get("cmp_key") or "").split("_")
    first, second = models if len(models) == 2 else ("unknown", "unknown")
    answers = (answer(row, "response1", first), answer(row, "response2", second))
    yield judged(row, prompt, answers, votes)


def _pandalm_choice(row: Row, field: str) -> Choice:
    value: Any = row.fields[field]
    choices: dict[Any, Choice] = {0: "tie", 1: "first", 2: "second"}
    choice = choices.get(value) if type(value) is int else None
    if choice is None:
        raise wrong(row, field, f"0 (tie), 1 or 2 is expected, not {value!r}")
    return choice


def is_chatbot_arena(row: Row) -> bool:
    """Two conversations and a winner."""
    return {"conversation_a", "conversation_b", "winner"} <= row.fields.keys()


def read_chatbot_arena(row: Row) -> Iterator[Judged]:
    """Two models' conversations; model_a's stood at left. Judges are the set's own ids, where it gives them.

    A battle of several turns is two conversations, not two answers to one prompt: unless they differ in the last turn alone, it
    is refused.
    """
    one, other = (_arena_turns(row, field) for field in ("conversation_a", "conversation_b"))
    if one[:-1] != other[:-1]:
        raise wrong(row, "conversation_b", "differs from conversation_a before its last turn: the vote is not on two answers")
    winner = row.fields["winner"]
    choices: dict[Any, Choice] = {"model_a": "first", "model_b": "second"}
    choice = choices.get(winner, "tie")
    if choice == "tie" and not str(winner).startswith(("tie", "both_bad")):
        raise wrong(row, "winner", f"model_a, model_b, tie or tie (bothbad) is expected, not {winner!r}")
    vote = Vote(
        rater_id=str(row.fields.get("judge") or row.fields.get("evaluation_session_id") or "unidentified"),
        choice=choice,
        both_bad=winner in {"tie (bothbad)", "both_bad"},
        left="first",
        judged_at=_arena_time(row),
    )
    answers = (Answer(one[-1].content, _model(row, "model_a")), Answer(other[-1].content, _model(row, "model_b")))
    yield judged(row, as_prompt(one[:-1]), answers, (vote,))


def _arena_turns(row: Row, field: str) -> tuple[Message, ...]:
    """A conversation that ends with an answer to a user. Newer releases write a turn's content as a list of parts."""
    found = row.fields[field]
    if not isinstance(found, list):
        raise wrong(row, field, "a list of turns is expected")
    plain = [{"role": turn.get("role"), "content": _parts_as_text(row, field, turn.get("content"))} for turn in found]
    turns = messages(Row(row.place, {field: plain}), field)
    if len(turns) < 2 or turns[-1].role != "assistant" or turns[-2].role != "user":
        raise wrong(row, field, "must end with a user's turn and the assistant's answer")
    return turns


def _parts_as_text(row: Row, field: str, content: Any) -> Any:
    if not isinstance(content, list):
        return content
    if any(part.get("type") != "text" for part in content):
        raise wrong(row, field, "holds something other than text; only text is compared")
    return "\n".join(str(part.get("text")) for part in content)


def _arena_time(row: Row) -> str:
    stamp = row.fields.get("tstamp") or row.fields.get("timestamp")
    if isinstance(stamp, datetime):
        return _iso(stamp.replace(tzinfo=stamp.tzinfo or UTC))
    if stamp is None or isinstance(stamp, str):
        return stamp or ""
    return _iso(datetime.fromtimestamp(float(stamp), UTC))


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds")


def _model(row: Row, field: str) -> str:
    return str(row.fields.get(field) or "unknown")
