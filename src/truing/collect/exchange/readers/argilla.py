"""Argilla's records, versions 1 and 2, as JSON or as flat columns: a ranking of fields, or a label that names one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from truing.collect.exchange.config import PROMPT_NAMES, FieldNames
from truing.collect.exchange.judged import Answer, Judged, Scored, Vote, answer, from_scores, judged, user_prompt
from truing.data.files import Row
from truing.data.turns import text_field, wrong
from truing.records import Choice, Prompt

_TIES = {"tie", "equal", "same", "both", "neither", "none"}
_NO_FIELDS = {"id", "external_id", "status", "metadata"}
_USERS, _STATUS, _RESPONSES = ".responses.users", ".responses.status", ".responses"


class Response(NamedTuple):
    """One user's answer to one question."""

    user: str
    value: Any
    status: str


class Record(NamedTuple):
    """A record in one shape, whichever export it came from: fields, and responses by question."""

    fields: dict[str, Any]
    responses: dict[str, list[Response]]


def is_argilla(row: Row) -> bool:
    """Nested fields with responses, or columns that hold users' values."""
    nested = isinstance(row.fields.get("fields"), dict) and "responses" in row.fields
    return nested or any(name.endswith(_USERS) for name in row.fields) or any(map(_is_v1_column, row.fields.values()))


def read_argilla(row: Row, names: FieldNames) -> Iterator[Judged]:
    """Every submitted response; drafts and discarded ones are left out. A ranking of K fields becomes its C(K,2) pairs."""
    record = _record(row)
    question = _question(row, record, names)
    prompt_name = names.prompt or next((name for name in PROMPT_NAMES if name in record.fields), None)
    fields = Row(row.place, record.fields)
    if prompt_name is None:
        raise wrong(row, "fields", f"no prompt among {', '.join(record.fields)}: name it with --field prompt=NAME")
    prompt = user_prompt(text_field(fields, prompt_name))
    answers = _answers(row, record, names, prompt_name)
    responses = [r for r in record.responses[question] if r.status in {"submitted", ""}]
    if any(_order(r.value) is not None for r in responses):
        yield from _rankings(row, prompt, answers, responses)
    else:
        yield from _labels(row, prompt, answers, responses)


def _record(row: Row) -> Record:
    if not isinstance(row.fields.get("fields"), dict):
        return _flat(row)
    given = row.fields["responses"]
    if isinstance(given, dict):
        return Record(row.fields["fields"], {q: [_response(n, r) for n, r in enumerate(rs, start=1)] for q, rs in given.items()})
    responses: dict[str, list[Response]] = {}
    for place, response in enumerate(given or [], start=1):
        for question, given_value in (response.get("values") or {}).items():
            one = {"user_id": response.get("user_id"), "value": given_value.get("value"), "status": response.get("status")}
            responses.setdefault(question, []).append(_response(place, one))
    return Record(row.fields["fields"], responses)


def _flat(row: Row) -> Record:
    """Columns: version 2 writes QUESTION.responses and beside it users and status; version 1 a column QUESTION of responses."""
    responses: dict[str, list[Response]] = {}
    for name, value in row.fields.items():
        if name.endswith(_RESPONSES):
            question = name.removesuffix(_RESPONSES)
            users = row.fields.get(question + _USERS) or [None] * len(value or [])
            status = row.fields.get(question + _STATUS) or [""] * len(value or [])
            columns = {"user_id": users, "value": value or [], "status": status}
            responses[question] = [_response(n, r) for n, r in enumerate(_as_rows(columns), start=1)]
        elif _is_v1_column(value):
            responses[name] = [_response(n, r) for n, r in enumerate(_as_rows(value), start=1)]
    texts = {name: value for name, value in row.fields.items() if isinstance(value, str) and name not in _NO_FIELDS}
    return Record({n: v for n, v in texts.items() if "." not in n and not n.endswith("-suggestion")}, responses)


def _is_v1_column(value: Any) -> bool:
    """A list of {user_id, value, status}, or the same as three lists."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(v, dict) and {"user_id", "value"} <= v.keys() for v in value)
    return isinstance(value, dict) and {"user_id", "value", "status"} <= value.keys()


def _as_rows(value: Any) -> list[Mapping[str, Any]]:
    if isinstance(value, list):
        return value
    columns = zip(value["user_id"], value["value"], value["status"], strict=True)
    return [{"user_id": u, "value": v, "status": s} for u, v, s in columns]


def _response(place: int, given: Mapping[str, Any]) -> Response:
    """Users that the export does not name are told apart by their place among a record's responses."""
    user = given.get("user_id")
    return Response(
        f"unidentified-{place}" if user is None else f"argilla-{user}", given.get("value"), str(given.get("status") or "")
    )


def _question(row: Row, record: Record, names: FieldNames) -> str:
    """The question asked for, or the only one whose answers compare fields."""
    if names.question is not None:
        if names.question not in record.responses:
            raise wrong(row, names.question, f"no such question; there are {', '.join(record.responses) or 'none'}")
        return names.question
    ranked = [q for q, rs in record.responses.items() if any(_order(r.value) is not None for r in rs)]
    candidates = ranked or list(record.responses)
    if len(candidates) != 1:
        raise wrong(
            row, "responses", f"which question holds the preference? Name one of {', '.join(candidates)}: --field question=NAME"
        )
    return candidates[0]


def _answers(row: Row, record: Record, names: FieldNames, prompt_name: str) -> dict[str, Answer]:
    """The compared texts by their field's name reduced to letters and digits."""
    wanted = [n for n in (names.first, names.second) if n] or [n for n in record.fields if n != prompt_name]
    fields = Row(row.place, record.fields)
    return {_key(name): answer(fields, name) for name in wanted}


def _order(value: Any) -> list[tuple[str, float]] | None:
    """A ranking as (field, rank), or None where the value is none: [{value, rank}], {value: [], rank: []}, or best first."""
    if isinstance(value, dict) and {"value", "rank"} <= value.keys():
        return [(str(v), float(r)) for v, r in zip(value["value"], value["rank"], strict=True)]
    if isinstance(value, list) and value and all(isinstance(v, dict) and {"value", "rank"} <= v.keys() for v in value):
        return [(str(v["value"]), float(v["rank"])) for v in value]
    if isinstance(value, list) and len(value) > 1 and all(isinstance(v, str) for v in value):
        return [(v, float(place)) for place, v in enumerate(value)]
    return None


def _rankings(row: Row, prompt: Prompt, answers: Mapping[str, Answer], responses: list[Response]) -> Iterator[Judged]:
    """Pairs in the order of the fields, each with the judgments of all who ranked both."""
    pairs: dict[str, Judged] = {}
    for response in responses:
        ranks = {_key(name): rank for name, rank in _order(response.value) or []}
        unknown = ranks.keys() - answers.keys()
        if unknown:
            raise wrong(row, "responses", f"ranks {min(unknown)!r}, which is none of the fields {', '.join(answers)}")
        scored = [Scored(answer, -ranks[name]) for name, answer in answers.items() if name in ranks]
        for found in from_scores(row, prompt, scored, Vote(response.user, "tie")):
            key = found.comparison.comparison_id
            pairs[key] = Judged(found.comparison, (*(pairs[key].judgments if key in pairs else ()), *found.judgments))
    yield from pairs.values()


def _labels(row: Row, prompt: Prompt, answers: Mapping[str, Answer], responses: list[Response]) -> Iterator[Judged]:
    if len(answers) != 2:
        named = "name them with --field first=NAME --field second=NAME"
        raise wrong(row, "fields", f"two texts are compared, found {', '.join(answers)}: {named}")
    names = list(answers)
    first, second = (answers[name] for name in names)
    votes = [Vote(response.user, _label(row, response.value, names)) for response in responses]
    yield judged(row, prompt, (first, second), votes)


def _label(row: Row, value: Any, names: list[str]) -> Choice:
    key = _key(str(value))
    choices: dict[str, Choice] = {names[0]: "first", names[1]: "second", **dict.fromkeys(_TIES, "tie")}
    if key not in choices:
        raise wrong(row, "responses", f"{value!r} names none of the texts {', '.join(names)} and is no tie")
    return choices[key]


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
