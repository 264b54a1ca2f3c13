"""NUL characters, of which PostgreSQL keeps none: no database of either kind gets one, and nobody gets a fault for one."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select
from tests.collect.people_world import add_account, add_campaign, add_items
from tests.collect.service_world import World, csrf

from truing.collect.people import messages
from truing.collect.schema import account, campaign, guideline, item, judgment, message, metadata, reply
from truing.collect.sent import cleaned
from truing.records import Comparison, Prompt


@pytest.fixture
def world(either, tmp_path):
    """The whole service over either kind of database."""
    return World(either, tmp_path / "exports")


def kept(database, *tables):
    """Everything that is in these tables, or in all."""
    with database.read() as connection:
        return str([connection.execute(select(table)).all() for table in tables or metadata.sorted_tables])


ADDRESSES = (
    "/%00",
    "/?q=%00",
    "/health?%00=1",
    "/static/%00",
    "/sign-in?next=/%00",
    "/invite/%00",
    "/lead/campaigns/new?preset=%00",
    "/lead/guidelines/1/edit?clause=%00",
    "/rate/1/next?holding=%00",
    "/rate/task/%00",
    "/api/v1/campaigns/1/batches/%00",
    "/api/v1/exports/1/files/%00",
)


def test_an_address_with_one_is_refused(world):
    lead, program = world.signed_in("lead", "lead"), world.api("read", "campaigns", "export")
    for address in ADDRESSES:
        for client in (world.browser(), lead, program):
            answer = client.get(address)
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid"), address
            assert answer.headers["x-content-type-options"] == "nosniff"
    program = world.api("campaigns")
    query = "file_name=a%00.jsonl&format=%00&field_x=%00"
    assert program.post(f"/api/v1/campaigns/1/imports?{query}", content=b"{}").status_code == 400
    assert program.post("/lead/leases/%00/release").status_code == 400


def test_what_programs_send_is_kept_without(world):
    api = world.api("read", "campaigns", "export", "people", "webhooks")
    key = {"idempotency-key": "key-0001"}

    def post(path, sent, **headers):
        answer = api.post(f"/api/v1/{path}", json=sent, headers=headers)
        assert answer.status_code < 300, answer.text
        return answer.json()

    post("guidelines", {"name": "ma\0in", "text": "Read\0 it.", "note": "ne\0w"})
    settings = {"name": "ju\0ne", "guideline": "ma\0in", "flags": ["uns\0afe"], "repeat_share": 0.0}
    at = f"campaigns/{post('campaigns', settings)['id']}"
    assert api.post("/api/v1/campaigns", json={"name": "june"}).status_code == 409
    texts = {"prompt": "Wh\0y?", "responses": ["a\0", "b"], "policies": ["\0p", "q"], "meta": {"a\0b": ["c\0"]}}
    rows = json.dumps({"external_id": "it\0em", "source": "\0", "group": "g\0", "strategy": "\0", **texts})
    assert api.post(f"/api/v1/{at}/items", content=rows).status_code == 201
    assert api.post(f"/api/v1/{at}/items", content=rows).status_code == 409
    sent = Comparison(comparison_id="com\0parison", prompt=Prompt.from_text("W\0ho?"), first="a\0", second="b")
    comparisons = {"comparisons": [sent.model_dump(mode="json")], "batch": "b\0atch"}
    assert post(f"{at}/comparisons", comparisons, **key)["items"] == 1
    assert post(f"{at}/comparisons", comparisons)["present"] == 1
    assert api.get(f"/api/v1/{at}/batches/batch").json()["items"] == 1
    votes = {"id": "u", "prompt": "W\0hat?", "stance": "s\0", "a1": "a\0", "a2": "b", "topic": "t\0"}
    votes["votes"] = [{"rater": "ra\0ter", "choice": "a1"}]
    imported = api.post(f"/api/v1/{at}/imports", params={"file_name": "a.jsonl", "judgments": True}, content=json.dumps(votes))
    assert (imported.status_code, imported.json()["judgments"]) == (200, 1), imported.text
    post("tokens", {"name": "wor\0ker", "scopes": ["read"]})
    post("webhooks", {"url": "http://127.0.0.1:9/\0", "actions": ["export.done"]})
    post("exports", {"name": "ju\0ly", "campaigns": ["ju\0ne"], "batches": ["b\0atch"]})
    assert [row["external_id"] for row in api.get(f"/api/v1/{at}/items").json()["items"][:2]] == ["item", "comparison"]
    there = kept(world.database)
    assert "\\x00" not in there
    assert all(text in there for text in ("'june'", "'main'", "'Why?'", "'rater'", "'worker'", "'july'", "'g'"))


def test_what_forms_send_is_kept_without(world):
    lead = world.signed_in("lead", "lead")

    def post(path, expected=303, file=None, **sent):
        data = {"csrf": csrf(lead.get("/me").text), **sent}
        files = {"file": ("it\0ems.jsonl", file, "text/plain")} if file else None
        answer = lead.post(path, data=data, files=files)
        assert answer.status_code == expected, answer.text

    post("/lead/guidelines", name="ma\0in", text="Re\0ad it.", note="ne\0w")
    pair = {"pair": "on", "pair.steps_each_side": "3", "\0": "\0"}
    further = 'onboarding = {consent = "Y\\u0000es."}\n'
    file = b'{"external_id": "i\\u0000d", "prompt": "W\\u0000hy?", "responses": ["a\\u0000", "b"]}\n'
    post("/lead/campaigns", name="ju\0ne", guideline="ma\0in", preset="\0", further=further, file=file, **pair)
    post("/lead/campaigns/1/items", items=file.decode().replace("i\\u0000d", "other\0"))
    post("/lead/campaigns/1/status", status="pau\0sed")
    post("/lead/campaigns", 400, name="\0")
    post("/me/settings", cap="\0")
    assert "\\x00" not in kept(world.database)
    assert "'june'" in kept(world.database, campaign)
    assert "'Read it." in kept(world.database, guideline)
    assert all(text in kept(world.database, item) for text in ("'id'", "'other'"))


def test_what_people_and_models_send_is_kept_without(world, either):
    tasks = [{"type": "pair"}, {"type": "critique"}, {"type": "rewrite"}]
    pairs = add_campaign(either, tasks=tasks)
    live = add_campaign(either, "live", overlap=1, live={"policies": ("a", "b")})
    add_items(either, pairs, 2)
    rater, worker = world.signed_in("rater"), world.api("replies")
    headers = {"accept": "application/json", "x-csrf-token": csrf(rater.get(f"/rate/{pairs}").text)}

    def send(method, path, content, expected, by=rater):
        answered = by.request(method, path, headers=headers, json=content)
        assert answered.status_code == expected, answered.text
        return answered

    def lease():
        return rater.get(f"/rate/{pairs}/next").text.split('data-lease="')[1].split('"')[0]

    key, text = "key\0-0001", "as far as\0 here"
    send("PUT", f"/rate/task/{lease()}/draft", {"fields": {"critique": text}, "active_s": 1, "saved_at": 2}, 204)
    answers = [{"type": "pair", "choice": "first", "margin": 1}, {"type": "critique", "text": text}]
    answers.append({"type": "rewrite", "of": 0, "text": text})
    send("POST", "/rate/submit", {"lease_id": lease(), "idempotency_key": key, "answers": answers, "clause": text}, 200)
    send("POST", "/rate/submit", {"lease_id": lease(), "idempotency_key": key + "2", "skip_reason": text}, 200)
    send("POST", f"/rate/{live}/chat", {"text": text}, 204)
    for wanted in send("POST", "/api/v1/replies/take", {"policies": ["a", "b"]}, 200, worker).json()["requests"]:
        assert wanted["messages"][0]["content"] == "as far as here"
        send("POST", f"/api/v1/replies/{wanted['reply_id']}", {"text": text}, 200, worker)
    lead = add_account(either, "lead", "lead")
    rater_id = either.write(lambda c: c.scalar(select(account.c.id).where(account.c.login == "rater")))
    either.write(lambda c: messages.send(c, rater_id, "Is it?", now=1.0, by=lead))
    assert rater.post("/me/messages", data={"text": text, "csrf": headers["x-csrf-token"]}).status_code == 303
    with either.read() as connection:
        kept = [row for table in (judgment, message, reply) for row in connection.execute(select(table)).all()]
    assert len(kept) == 6
    assert str(kept).count("as far as here") >= 8
    assert "\\x00" not in str(kept)


def test_a_record_without_is_left_as_it_is():
    plain = Comparison(comparison_id="a", prompt=Prompt.from_text("Why \\u0000?"), first="b", second="c", policies=("d", "e"))
    assert cleaned(plain) == plain
    assert cleaned(plain.model_copy(update={"first": "b\0"})) == plain
