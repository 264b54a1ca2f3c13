"""Sets that order several answers to a prompt: OASST's trees and UltraFeedback. Every ranking becomes all of its pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from truing.collect.exchange.judged import Answer, Judged, Scored, Vote, answer, as_prompt, from_scores
from truing.data.files import Row
from truing.data.turns import text_field, wrong
from truing.records import Message, Prompt

OASST_CONSENSUS = "oasst-consensus"
"""OASST publishes the merged ranking of its raters, not theirs."""
ULTRAFEEDBACK_JUDGE = "ultrafeedback-gpt-4"
"""A model judged the set; its judgments are marked simulated."""


def is_oasst_tree(row: Row) -> bool:
    """A tree with its initial prompt."""
    return "message_tree_id" in row.fields and isinstance(row.fields.get("prompt"), dict)


def read_oasst_tree(row: Row) -> Iterator[Judged]:
    """Every place in the tree where the assistant's replies are ranked (rank 0 is the best)."""
    yield from _walk(row, row.fields["prompt"], ())


def is_oasst_message(row: Row) -> bool:
    """One message of a flat file."""
    return {"message_id", "parent_id", "message_tree_id", "text", "role"} <= row.fields.keys()


def oasst_tree_id(row: Row) -> str:
    """What the messages of one tree share."""
    return text_field(row, "message_tree_id")


def read_oasst_messages(rows: Sequence[Row]) -> Iterator[Judged]:
    """A tree rebuilt from its messages."""
    nodes = {row.fields["message_id"]: {**row.fields, "replies": []} for row in rows}
    roots = []
    for row in rows:
        node, parent = nodes[row.fields["message_id"]], row.fields["parent_id"]
        if parent is None:
            roots.append(node)
        elif parent in nodes:
            nodes[parent]["replies"].append(node)
        else:
            raise wrong(row, "parent_id", f"message {parent} is not in the file: the tree cannot be rebuilt")
    for root in roots:
        yield from _walk(rows[0], root, ())


def _walk(row: Row, node: dict[str, Any], before: tuple[Message, ...]) -> Iterator[Judged]:
    turns = (*before, _oasst_message(row, node))
    replies = [reply for reply in node.get("replies") or [] if not reply.get("deleted")]
    if turns[-1].role == "user":
        ranked = [r for r in replies if r.get("role") == "assistant" and r.get("rank") is not None]
        scored = [Scored(_oasst_answer(row, reply), -float(reply["rank"])) for reply in ranked]
        yield from from_scores(row, as_prompt(turns), scored, Vote(OASST_CONSENSUS, "tie"))
    for reply in replies:
        yield from _walk(row, reply, turns)


def _oasst_message(row: Row, node: dict[str, Any]) -> Message:
    role, text = node.get("role"), node.get("text")
    if role not in {"prompter", "assistant"} or not isinstance(text, str) or not text.strip():
        raise wrong(row, f"message {node.get('message_id')}", "a text and a role (prompter or assistant) are expected")
    return Message(role="user" if role == "prompter" else "assistant", content=text)


def _oasst_answer(row: Row, node: dict[str, Any]) -> Answer:
    written_by = str(node.get("model_name") or "unknown") if node.get("synthetic") else "person"
    return Answer(_oasst_message(row, node).content, written_by)


def is_ultrafeedback(row: Row) -> bool:
    """An instruction and its completions."""
    return isinstance(row.fields.get("completions"), list) and "instruction" in row.fields


def read_ultrafeedback(row: Row) -> Iterator[Judged]:
    """All pairs of a prompt's completions, by the mean of the ratings of their aspects.

    Not by `overall_score`, in which the set is known to have errors (1 where 10 was meant).
    """
    scored = [Scored(_response(row, completion), _mean_rating(row, completion)) for completion in row.fields["completions"]]
    prompt = Prompt.from_text(text_field(row, "instruction"))
    yield from from_scores(row, prompt, scored, Vote(ULTRAFEEDBACK_JUDGE, "tie", simulated=True))


def _response(row: Row, completion: dict[str, Any]) -> Answer:
    return answer(Row(row.place, completion), "response", str(completion.get("model") or "unknown"))


def _mean_rating(row: Row, completion: dict[str, Any]) -> float:
    aspects = completion.get("annotations")
    ratings = [aspect.get("Rating") for aspect in aspects.values()] if isinstance(aspects, dict) and aspects else []
    try:
        return sum(float(rating) for rating in ratings) / len(ratings)
    except (TypeError, ValueError, ZeroDivisionError):
        raise wrong(row, "completions.annotations", f"a Rating for each aspect is expected, not {ratings}") from None
