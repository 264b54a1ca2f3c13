import sqlite3

import pytest
from sqlalchemy.exc import OperationalError
from tests.collect.people_world import add_campaign, add_items
from tests.collect.service_world import csrf

from truing.collect import home, security
from truing.collect.config import ServiceConfig
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
    browser = world.signed_in("lead", "lead")

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


def test_a_full_disk_is_said_and_nothing_is_acknowledged(world, monkeypatch):
    campaign_id = add_campaign(world.database)
    add_items(world.database, campaign_id, 1)
    rater = world.signed_in("rater")
    page = rater.get(f"/rate/{campaign_id}")
    lease_id = page.text.split('data-lease="')[1].split('"')[0]
    full = OperationalError("INSERT", {}, _sqlite_error("SQLITE_FULL"))

    def refuse(*_, **__):
        raise full

    monkeypatch.setattr("truing.collect.screen.routes.judgments.submit", refuse)
    sent = {"lease_id": lease_id, "idempotency_key": "key-0001", "answers": [{"type": "pair", "choice": "first", "margin": 1}]}
    headers = {"x-csrf-token": csrf(page.text), "accept": "application/json"}
    answer = rater.post("/rate/submit", json=sent, headers=headers)
    assert answer.status_code == 507
    assert "still in your browser" in answer.json()["error"]["message"]
    monkeypatch.undo()
    with world.database.read() as connection:
        assert connection.execute(judgment.select()).all() == []
    assert rater.post("/rate/submit", json=sent, headers=headers).json()["revision"] == 1


def _sqlite_error(name):
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorname = name
    return error


def test_openapi_describes_the_api_and_nothing_else(world):
    document = world.browser().get("/api/v1/openapi.json").json()
    assert all(path.startswith("/api/v1/") for path in document["paths"])
    for path in ("/api/v1/campaigns/{campaign_id}/items", "/api/v1/tokens", "/api/v1/exports", "/api/v1/webhooks"):
        assert path in document["paths"]


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
def test_no_page_that_loads_scripts_from_elsewhere(world, path):
    assert world.browser().get(path).status_code == 404
