import contextlib
import errno
import json

import anyio
import pytest
from tests.collect.full_disk import full
from tests.collect.people_world import add_campaign, add_items
from tests.collect.service_world import csrf

from truing.collect import audit, home, security
from truing.collect.config import ServiceConfig
from truing.collect.errors import StorageFullError
from truing.collect.schema import judgment


def test_every_answer_carries_the_headers(world):
    browser = world.browser()
    for path in ("/sign-in", "/health", "/static/truing.css", "/nowhere", "/api/v1/campaigns"):
        answer = browser.get(path)
        for name, value in security.HEADERS.items():
            assert answer.headers[name] == value, (path, name)
    assert "unsafe" not in security.POLICY
    assert browser.get("/sign-in").headers["cache-control"] == "no-store"


def test_health(world):
    assert world.browser().get("/health").json() == {"status": "ok"}


def test_whoever_is_not_signed_in_is_sent_to_sign_in_and_back(world):
    answer = world.browser().get("/lead/people")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=/lead/people")


def test_a_program_gets_json_and_a_person_a_page(world):
    browser = world.browser()
    assert "<h1>Not found</h1>" in browser.get("/nowhere").text
    assert browser.get("/nowhere", headers={"accept": "*/*"}).json()["error"]["code"] == "not_found"
    assert browser.get("/api/v1/campaigns").json() == {"error": {"code": "not_signed_in", "message": "you are not signed in"}}


def test_a_fault_shows_no_traceback(world, monkeypatch):
    browser = world.signed_in("bo", "rater")

    def broken(*_):
        raise RuntimeError("a secret in here")

    monkeypatch.setattr(home.campaigns, "listed", broken)
    answer = browser.get("/")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert "it was logged" in answer.text


def test_bodies_have_a_limit_declared_or_not(world):
    browser = world.browser()
    limit = world.config.max_body_bytes
    assert browser.post("/sign-in", content=b"x" * (limit + 1)).status_code == 413

    def chunks():
        for _ in range(limit // 1000 + 2):
            yield b"x" * 1000

    kind = {"content-type": "application/x-www-form-urlencoded"}
    assert browser.post("/sign-in", content=chunks(), headers=kind).status_code == 413


UPLOADS = (
    "/api/v1/campaigns/1/comparisons",
    "/api/v1/campaigns/1/items",
    "/api/v1/campaigns/1/imports?file_name=a.jsonl",
    "/lead/campaigns",
    "/lead/campaigns/1/items",
)


@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"])
@pytest.mark.parametrize("path", UPLOADS)
def test_of_whoever_may_not_upload_nothing_is_read(world, path, kind):
    rater = world.signed_in("rater")
    reader = world.api("read")
    strangers = {
        "nobody": {},
        "visitor": {"cookie": "truing-visitor=made-up"},
        "rater": {"cookie": f"truing={rater.cookies['truing']}"},
        "reader": {"authorization": reader.headers["authorization"]},
    }
    for name, headers in strangers.items():
        sent = {"content-type": kind, "content-length": str(64 << 20), **headers}
        status, read = unread(world.app, path, sent)
        assert (status, read) in {(401, 0), (403, 0)}, name


def unread(app, path, headers):
    """The status that a POST is answered with, and how often its body was asked for."""
    read, statuses = [], []
    path, _, query = path.partition("?")
    scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": query.encode()}
    scope |= {"headers": [(name.encode(), value.encode()) for name, value in headers.items()], "http_version": "1.1"}
    scope |= {"scheme": "http", "server": ("testserver", 80), "client": ("test", 1), "root_path": ""}

    async def receive():
        read.append(None)
        return {"type": "http.request", "body": b"x" * 1000, "more_body": len(read) < 100}

    async def send(message):
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    anyio.run(app, scope, receive, send)
    return statuses[0], len(read)


def test_what_brings_no_file_is_small_on_the_api_too(world):
    program = world.api("read", "campaigns", "export", "webhooks", "people", "replies")
    limit = world.config.max_body_bytes
    for path in ("guidelines", "campaigns", "exports", "webhooks", "tokens", "replies/take", "campaigns/1/status"):
        assert program.post(f"/api/v1/{path}", content=b"x" * (limit + 1)).status_code == 413, path
    comparisons = json.dumps({"comparisons": [], "batch": "x" * limit})
    assert program.post("/api/v1/campaigns/1/comparisons", content=comparisons).status_code == 422


def test_a_change_needs_the_token_of_its_own_session(world):
    lead, other = world.signed_in("lead", "lead"), world.signed_in("other", "lead")
    url, data = "/lead/people/invite", {"role": "rater"}
    assert lead.post(url, data=data).status_code == 403
    assert lead.post(url, data={**data, "csrf": csrf(other.get("/lead/people").text)}).status_code == 403
    token = csrf(lead.get("/lead/people").text)
    assert "/invite/" in lead.post(url, data={**data, "csrf": token}).text
    assert "/invite/" in lead.post(url, data=data, headers={"x-csrf-token": token}).text
    lead.headers["authorization"] = "Basic abc"
    assert lead.post(url, data=data).status_code == 403


def test_json_posts_need_the_header(world):
    rater = world.signed_in("rater")
    assert rater.post("/rate/undo", json={"lease_id": "x", "idempotency_key": "k" * 8}).status_code == 403
    token = csrf(rater.get("/").text)
    sent = {"json": {"lease_id": "x", "idempotency_key": "k" * 8}, "headers": {"x-csrf-token": token}}
    assert rater.post("/rate/undo", **sent).status_code == 404


def test_over_tls_cookies_are_secure_and_bound_to_the_host(database, tmp_path):
    from tests.collect.service_world import World

    world = World(database, tmp_path, config=ServiceConfig(public_url="https://testserver"))
    world.account("r")
    browser = world.browser()
    page = browser.get("/sign-in")
    assert page.headers["strict-transport-security"]
    data = {"csrf": csrf(page.text), "login": "r", "password": "correct horse battery"}
    cookie = browser.post("/sign-in", data=data).headers["set-cookie"]
    assert cookie.startswith("__Host-truing=")
    for attribute in ("HttpOnly", "Path=/", "SameSite=lax", "Secure"):
        assert attribute in cookie


def test_a_full_disk_is_said_nothing_is_acknowledged_and_the_same_answer_goes_once_there_is_room(world, caplog):
    campaign_id = add_campaign(world.database, overlap=1, tasks=[{"type": "pair"}, {"type": "critique"}])
    add_items(world.database, campaign_id, 1)
    rater = world.signed_in("rater")
    page = rater.get(f"/rate/{campaign_id}")
    lease_id = page.text.split('data-lease="')[1].split('"')[0]
    answers = [{"type": "pair", "choice": "first", "margin": 1}, {"type": "critique", "text": "long " * 3000}]
    sent = {"lease_id": lease_id, "idempotency_key": "key-0001", "answers": answers}
    headers = {"x-csrf-token": csrf(page.text), "accept": "application/json"}
    with full(world.database.writer.engine):
        fill(world.database)
        answer = rater.post("/rate/submit", json=sent, headers=headers)
        assert answer.status_code == 507
        assert "still in your browser" in answer.json()["error"]["message"]
        health = world.browser().get("/health", headers=headers)
        assert (health.status_code, health.json()["error"]["code"]) == (507, "storage_full")
    assert [record.levelname for record in caplog.records if "cannot be written" in record.message] == ["ERROR"]
    with world.database.read() as connection:
        assert connection.execute(judgment.select()).all() == []
    assert world.browser().get("/health").json() == {"status": "ok"}
    again = [rater.post("/rate/submit", json=sent, headers=headers).json() for _ in range(2)]
    assert again[0] == again[1]
    assert again[0]["revision"] == 1


def fill(database):
    """Use up the pages that the database has."""
    with contextlib.suppress(StorageFullError):
        for n in range(10_000):
            database.write(lambda c, n=n: audit.record(c, "filler", "x" * 200, now=float(n)))


def test_no_room_for_an_upload_is_a_full_disk_too(world, monkeypatch):
    campaign_id = add_campaign(world.database)
    program = world.api("campaigns")

    def no_room(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("truing.collect.exchange.routes.tempfile.TemporaryDirectory", no_room)
    answer = program.post(f"/api/v1/campaigns/{campaign_id}/imports?file_name=a.jsonl", content=b"{}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (507, "storage_full")


@pytest.mark.parametrize("number", [2**63, 10**30])
def test_a_number_that_no_row_can_have_is_not_found(world, number):
    assert world.signed_in("lead", "lead").get(f"/guidelines/{number}").status_code == 404


@pytest.mark.parametrize("text", ["x", "-1", "\u00b2", "9" * 40])
def test_a_form_field_that_is_no_number_is_the_senders_fault(world, text):
    lead = world.signed_in("lead", "lead")
    token = csrf(lead.get("/me").text)
    for url, field in (("/campaigns/1/guideline", "guideline_id"), ("/lead/guidelines", "after"), ("/me/settings", "cap")):
        answer = lead.post(url, data={"csrf": token, field: text})
        assert (answer.status_code, f"{field}: a whole number" in answer.text) == (400, True), url


def test_openapi_describes_the_api_and_nothing_else(world):
    document = world.browser().get("/api/v1/openapi.json").json()
    assert all(path.startswith("/api/v1/") for path in document["paths"])
    for path in ("/api/v1/campaigns/{campaign_id}/items", "/api/v1/tokens", "/api/v1/exports", "/api/v1/webhooks"):
        assert path in document["paths"]


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
def test_no_page_that_loads_scripts_from_elsewhere(world, path):
    assert world.browser().get(path).status_code == 404
