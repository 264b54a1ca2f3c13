"""Label Studio's JSON export of projects with a Pairwise control."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from truing.collect.exchange.config import PROMPT_NAMES, FieldNames
from truing.collect.exchange.judged import Judged, Vote, answer, judged, user_prompt
from truing.data.files import Row
from truing.data.turns import text_field, wrong
from truing.records import Choice


class _Fields(NamedTuple):
    prompt: str
    first: str
    second: str


def is_label_studio(row: Row) -> bool:
    """A task's data and its annotations."""
    return isinstance(row.fields.get("data"), dict) and isinstance(row.fields.get("annotations"), list)


def read_label_studio(row: Row, names: FieldNames) -> Iterator[Judged]:
    """The left text is the first answer. A ground-truth annotation is the gold answer; cancelled ones were skipped tasks.

    Annotators are known by their number, never by the address that an export may hold. The pairwise control has no tie.
    """
    data = Row(row.place, row.fields["data"])
    fields = _fields(data, names)
    done = [a for a in row.fields["annotations"] if not a.get("was_cancelled")]
    choices = [(annotation, _choice(row, annotation, names.question)) for annotation in done]
    votes = [Vote(_annotator(a), c, left="first", judged_at=_time(a)) for a, c in choices if not a.get("ground_truth")]
    gold = next((choice for annotation, choice in choices if annotation.get("ground_truth")), None)
    answers = (answer(data, fields.first), answer(data, fields.second))
    yield judged(row, user_prompt(text_field(data, fields.prompt)), answers, votes, gold=gold)


def _fields(data: Row, names: FieldNames) -> _Fields:
    """The fields named, and for the rest those that can only be meant."""
    known = list(data.fields)
    prompt = names.prompt or next((name for name in PROMPT_NAMES if name in known), None)
    given = [names.first, names.second]
    others = [n for n in known if n not in {prompt, *given} and isinstance(data.fields[n], str)]
    answers = given if all(given) else others
    if prompt is None or len(answers) != 2 or answers[0] is None or answers[1] is None:
        raise wrong(
            data,
            "data",
            f"cannot tell the prompt and the two texts among {', '.join(known)}: "
            "name them with --field prompt=NAME --field first=LEFT --field second=RIGHT",
        )
    return _Fields(prompt, answers[0], answers[1])


def _choice(row: Row, annotation: dict[str, Any], control: str | None) -> Choice:
    results = [r for r in annotation.get("result") or [] if r.get("type") == "pairwise"]
    results = [r for r in results if control is None or r.get("from_name") == control]
    sides: dict[Any, Choice] = {"left": "first", "right": "second"}
    selected = [sides.get((r.get("value") or {}).get("selected")) for r in results]
    if len(selected) != 1 or selected[0] is None:
        raise wrong(
            row,
            f"annotation {annotation.get('id')}",
            f'one pairwise result with "selected": "left" or "right" is expected, found {len(results)}; '
            "with several controls, name one with --field question=NAME",
        )
    return selected[0]


def _annotator(annotation: dict[str, Any]) -> str:
    by = annotation.get("completed_by")
    identity = by.get("id") if isinstance(by, dict) else by
    return "unidentified" if identity is None else f"label-studio-{identity}"


def _time(annotation: dict[str, Any]) -> str:
    return str(annotation.get("created_at") or "")
