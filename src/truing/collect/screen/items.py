"""What lies behind the rating screen: a rater's leased item, read blinded; its answer taken back into fields; the guideline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup
from pydantic import JsonValue
from sqlalchemy import Connection, RowMapping, and_, bindparam, select

from truing.collect import campaigns, leases
from truing.collect.answers import Answer, Answers, on_screen
from truing.collect.errors import NotFoundError
from truing.collect.guidelines import versions
from truing.collect.guidelines.diff import compare
from truing.collect.leases import Lease
from truing.collect.rendering.diff import change, side, word_diff
from truing.collect.rendering.markdown import render
from truing.collect.schema import draft, item, judgment
from truing.collect.screen.view import Blinded, TaskView, task_view
from truing.records import Clause, Prompt


@dataclass(frozen=True)
class Section:
    """A clause as the panel shows it. `change` is what happened to it since the rater last confirmed; empty = nothing."""

    clause_id: str
    title: str
    html: Markup
    change: str = ""
    differing: Markup = field(default_factory=Markup)


@dataclass(frozen=True)
class GuidelinePanel:
    """The guideline of a campaign, for one rater. `since` is the version they last confirmed, where it is an older one."""

    version: int
    sections: tuple[Section, ...]
    since: int | None = None

    @property
    def changes(self) -> tuple[Section, ...]:
        """The clauses to look at again."""
        return tuple(section for section in self.sections if section.change)


def task(connection: Connection, lease_id: str, rater_id: int) -> TaskView:
    """An item that the rater has in their hands. Raises NotFoundError where it is not theirs."""
    return view(connection, *leases.with_campaign(connection, lease_id, rater_id))


def difference(connection: Connection, lease_id: str, rater_id: int) -> tuple[Markup, Markup]:
    """Both answers as they were written, each with what the other has not marked. Raises NotFoundError."""
    found = blinded(connection, leases.get(connection, lease_id, rater_id))[0]
    if len(found.responses) != 2:
        raise NotFoundError("only two answers are compared word by word")
    pieces = word_diff(*found.responses)
    return side(pieces, "removed"), side(pieces, "added")


def response_text(connection: Connection, lease_id: str, rater_id: int, place: int) -> str:
    """The response at a place of the screen as it was written, to start a rewrite from. Raises NotFoundError."""
    responses = blinded(connection, leases.get(connection, lease_id, rater_id))[0].responses
    if not 0 <= place < len(responses):
        raise NotFoundError("there is no answer at that place")
    return responses[place]


_ANSWER = (judgment.c.answers, judgment.c.flags, judgment.c.clause, judgment.c.active_s)
_SHOWN = (
    select(item.c.prompt, item.c.responses, draft.c.content, *_ANSWER)
    .select_from(item)
    .outerjoin(draft, draft.c.lease_id == bindparam("of_lease"))
    .outerjoin(judgment, and_(judgment.c.lease_id == bindparam("of_lease"), judgment.c.is_current))
    .where(item.c.id == bindparam("of_item"))
)


def blinded(connection: Connection, found: Lease) -> tuple[Blinded, dict[str, JsonValue]]:
    """A lease's item as a rater may know it, and what they have of an answer to it: unfinished work, or one taken back.

    The policies, and what else would tell, are not even read.
    """
    row = connection.execute(_SHOWN, {"of_item": found.item_id, "of_lease": found.lease_id}).one()
    shown = Blinded(
        lease_id=found.lease_id,
        messages=Prompt.model_validate(row.prompt).messages,
        responses=tuple(row.responses[index] for index in found.screen_order),
    )
    if row.content is not None:
        return shown, row.content
    if row.answers is None:
        return shown, {}
    fields = fields_of(on_screen(Answers.validate_python(row.answers), found.screen_order))
    return shown, {"fields": {**fields, "flag": row.flags, "clause": row.clause}, "active_s": row.active_s}


def guideline_panel(connection: Connection, campaign_id: int, rater_id: int) -> GuidelinePanel:
    """The campaign's guideline beside the item, with what changed since this rater last confirmed one. Raises NotFoundError."""
    guideline_id = campaigns.get(connection, campaign_id)["guideline_id"]
    if guideline_id is None:
        raise NotFoundError("this campaign has no guideline")
    shown = versions.get(connection, guideline_id)
    read = versions.last_confirmed(connection, rater_id, shown.name)
    if read is None or read.guideline.version >= shown.guideline.version:
        return GuidelinePanel(shown.guideline.version, tuple(_section(clause) for clause in shown.guideline.sections))
    sections = tuple(
        Section(c.clause_id, c.title, Markup(), "removed", change(word_diff(c.before.body, "")))
        if c.after is None and c.before is not None
        else _section(c.after, c.kind if c.kind != "same" else "", c.before)
        for c in compare(read.guideline, shown.guideline)
    )
    return GuidelinePanel(shown.guideline.version, sections, read.guideline.version)


def fields_of(answers: Sequence[Answer]) -> dict[str, JsonValue]:
    """Answers by place on the screen as the fields that would give them: what an undone answer comes back as."""
    fields: dict[str, JsonValue] = {}
    for answer in answers:
        match answer.type:
            case "pair":
                fields["pair"] = "tie:bad" if answer.both_bad else f"{answer.choice}:{answer.margin}"
            case "ranking":
                fields |= {f"rank-{place}": str(rank) for place, rank in enumerate(answer.ranks)}
            case "scales":
                scored = ((place, name, score) for place, scores in enumerate(answer.scores) for name, score in scores.items())
                fields |= {f"score-{place}-{name}": str(score) for place, name, score in scored}
            case "critique":
                fields["critique"] = answer.text
                fields |= {f"critique-{place}": text for place, text in enumerate(answer.of_responses)}
            case "rewrite":
                fields |= {"rewrite": answer.text, "rewrite-of": str(answer.of)}
    return fields


def view(connection: Connection, found: Lease, row: RowMapping) -> TaskView:
    """A lease's item as the screen shows it; `row` is its campaign."""
    config = campaigns.config_of(row)
    shown = versions.get(connection, row["guideline_id"]).guideline if row["guideline_id"] is not None else None
    item_shown, answer = blinded(connection, found)
    return task_view(
        item_shown,
        config.tasks,
        flags=config.flags,
        clauses=shown.sections if shown else (),
        guideline_hash=shown.guideline_hash if shown else "",
        draft=answer,
        is_veiled=config.exposure.harmful,
    )


def _section(clause: Clause | None, kind: str = "", before: Clause | None = None) -> Section:
    assert clause is not None
    differing = change(word_diff(before.body, clause.body)) if kind == "changed" and before else Markup()
    return Section(
        clause.clause_id, clause.title, render(clause.body, under=3 if clause.title else 2, live_links=True), kind, differing
    )
