"""Pages of guidelines: reading one, what changed between two, and, for leads, writing the next version."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy import Connection

from truing.collect.adjudication import decisions
from truing.collect.errors import ServiceError
from truing.collect.guidelines import uses, versions
from truing.collect.guidelines.diff import compare
from truing.collect.web import Form, LeadVisit, Visitor, whole_number
from truing.records import Guideline

router = APIRouter()

STARTING_TEXT = """# How to rate

Read the question and both answers to the end before you choose.

## A right answer beats a wrong one {#correct}

Decide first whether each answer is right. A right answer is better than a wrong one, however well the wrong one reads.
"""


@router.get("/guidelines/{guideline_id}")
def read(visit: Visitor, guideline_id: int) -> HTMLResponse:
    """One version, with its clauses and its history."""
    with visit.database.read() as connection:
        version = versions.get(connection, guideline_id)
        history = versions.history(connection, version.name)
    return visit.page("people/guideline.html", version=version, history=history)


@router.get("/guidelines/{before_id}/diff/{after_id}")
def difference(visit: Visitor, before_id: int, after_id: int) -> HTMLResponse:
    """What changed from one version to another, clause by clause."""
    with visit.database.read() as connection:
        before, after = versions.get(connection, before_id), versions.get(connection, after_id)
        history = versions.history(connection, after.name)
    if before.name != after.name:
        raise ServiceError(f"{before.name!r} and {after.name!r} are two guidelines: only versions of one can be compared")
    changes = compare(before.guideline, after.guideline)
    return visit.page("people/guideline_diff.html", before=before, after=after, changes=changes, history=history)


@router.get("/guidelines/{guideline_id}/diff")
def choose_difference(_: Visitor, guideline_id: int, against: int) -> RedirectResponse:
    """The form's way to the address of a difference."""
    return RedirectResponse(f"/guidelines/{against}/diff/{guideline_id}", 303)


@router.get("/lead/guidelines")
def listed(visit: LeadVisit) -> HTMLResponse:
    """Every guideline, with what adjudication proposes for it."""
    with visit.database.read() as connection:
        newest = versions.all_newest(connection)
        proposed = {version.name: decisions.proposals(connection, version.name) for version in newest}
    return visit.page("people/guidelines.html", newest=newest, proposed=proposed)


@router.get("/lead/guidelines/new")
def new(visit: LeadVisit) -> HTMLResponse:
    """An editor for a new guideline."""
    return visit.page("people/guideline_edit.html", **_editor(text=STARTING_TEXT))


@router.get("/lead/guidelines/{guideline_id}/edit")
def edit(visit: LeadVisit, guideline_id: int, clause: str = "") -> HTMLResponse:
    """An editor for the next version; `clause` puts the amendment proposed for it into the text."""
    with visit.database.read() as connection:
        version = versions.get(connection, guideline_id)
        proposal = decisions.proposal(connection, version.name, clause) if clause else None
    text = proposal.applied(version.guideline) if proposal else version.guideline.text
    return visit.page("people/guideline_edit.html", **_editor(version, text, clause=clause))


@router.post("/lead/guidelines", response_model=None)
def publish(visit: LeadVisit, form: Form) -> HTMLResponse | RedirectResponse:
    """Publish a text as the next version, or show first what it changes."""
    name, text, note, clause = (str(form.get(key, "")).strip() for key in ("name", "text", "change_note", "clause"))
    after = whole_number(form, "after")
    with visit.database.read() as connection:
        before = versions.numbered(connection, name, after) if after else None
    shown = _editor(before, text, name=name, note=note, clause=clause)
    try:
        versions.check(name, text)
        if form.get("action") == "preview":
            next_text = Guideline(version=after + 1, text=text)
            changes = compare(before.guideline if before else Guideline(version=0, text=""), next_text)
            return visit.page("people/guideline_edit.html", **{**shown, "changes": changes})

        def save(connection: Connection) -> versions.Version:
            made = versions.publish(connection, name, text, now=visit.now, by=visit.account["id"], change_note=note, after=after)
            if clause:
                decisions.adopt(connection, decisions.proposal(connection, name, clause), made.guideline.version)
            return made

        made = visit.database.write(save)
    except ServiceError as error:
        return visit.page("people/guideline_edit.html", error.status, **{**shown, "problem": str(error)})
    return RedirectResponse(f"/guidelines/{made.guideline_id}?{urlencode({'published': 1})}", 303)


@router.get("/lead/guidelines/{guideline_id}/clauses")
def clauses(visit: LeadVisit, guideline_id: int) -> HTMLResponse:
    """Where good raters disagree, by clause."""
    with visit.database.read() as connection:
        version = versions.get(connection, guideline_id)
        found = uses.read(connection, version.name)
    return visit.page("people/clauses.html", version=version, found=found)


def _editor(
    version: versions.Version | None = None, text: str = "", *, name: str = "", note: str = "", clause: str = ""
) -> dict[str, Any]:
    """What the editor shows."""
    return {
        "version": version,
        "name": version.name if version else name,
        "text": text,
        "change_note": note,
        "clause": clause,
        "changes": None,
        "problem": "",
    }
