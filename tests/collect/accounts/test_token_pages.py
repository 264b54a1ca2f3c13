"""Tokens made and revoked on the page: by an administrator alone, shown once, of use at once and of none after."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from tests.collect.service_world import csrf

from truing.collect.accounts import tokens
from truing.collect.schema import account, api_token, event

AT = "/lead/tokens"


@pytest.fixture
def admin(world):
    return world.signed_in("ada", "admin")


def make(browser, name="worker", scopes=("read", "replies")):
    return browser.post(AT, data={"csrf": csrf(browser.get(AT).text), "name": name, "scope": list(scopes)})


def secret_in(page):
    return re.search(r'role="status">.*?<code class="secret">(\S+)</code>', page)[1]


def program(world, secret):
    return TestClient(world.app, headers={"authorization": f"Bearer {secret}"})


def rows(world):
    with world.database.read() as connection:
        return connection.execute(select(api_token).order_by(api_token.c.id)).mappings().all()


def test_a_token_is_shown_once_works_and_is_revoked(world, admin):
    made = make(admin)
    secret = secret_in(made.text)
    assert made.headers["cache-control"] == "no-store"
    listed = admin.get(AT).text
    assert secret not in listed
    assert '<td>worker</td><td><span class="chip">read</span> <span class="chip">replies</span> </td>' in listed
    (row,) = rows(world)
    assert secret not in row.values()
    assert program(world, secret).post("/api/v1/replies/take", json={"policies": ["a"]}).json() == {"requests": []}
    assert program(world, secret).get("/api/v1/tokens").status_code == 403
    revoked = admin.post(f"{AT}/{row['id']}/revoke", data={"csrf": csrf(listed)})
    assert (revoked.status_code, revoked.headers["location"]) == (303, AT)
    assert "<td>worker</td>" not in admin.get(AT).text
    assert program(world, secret).post("/api/v1/replies/take", json={"policies": ["a"]}).status_code == 401
    assert admin.post(f"{AT}/{row['id']}/revoke", data={"csrf": csrf(listed)}).status_code == 404
    with world.database.read() as connection:
        actions = connection.scalars(select(event.c.action).where(event.c.subject == f"token:{row['id']}")).all()
    assert actions == ["token.created", "token.revoked"]


def test_what_is_missing_is_said_and_what_was_written_stays(world, admin):
    answer = make(admin, name="the worker", scopes=())
    assert (answer.status_code, "scopes: choose among" in answer.text) == (400, True)
    assert 'value="the worker"' in answer.text
    answer = make(admin, name="  ", scopes=("export",))
    assert (answer.status_code, "name: 1 to 200 characters" in answer.text) == (400, True)
    assert 'value="export" checked' in answer.text
    assert make(admin, scopes=("read", "everything")).status_code == 400
    assert rows(world) == []


def test_every_scope_is_on_the_page_and_in_the_guide_with_what_it_does(admin):
    page = admin.get(AT).text
    guide = (Path(__file__).parents[3] / "docs" / "guide" / "collect.md").read_text(encoding="utf-8")
    assert set(re.findall(r'name="scope" value="(\w+)"', page)) == set(tokens.SCOPES) == set(tokens.MEANINGS)
    for scope, meaning in tokens.MEANINGS.items():
        assert f"<code>{scope}</code> {meaning}<" in page
        assert f"| `{scope}` | {meaning} |" in guide


def test_it_is_an_administrators_and_needs_the_pages_own_token(world, admin):
    make(admin)
    lead, rater = world.signed_in("lead", "lead"), world.signed_in("bo")
    for browser in (lead, rater):
        sent = {"csrf": csrf(browser.get("/me").text)}
        assert browser.get(AT).status_code == 403
        assert browser.post(AT, data={**sent, "name": "mine", "scope": "read"}).status_code == 403
        assert browser.post(f"{AT}/1/revoke", data=sent).status_code == 403
    assert world.browser().get(AT).status_code == 303
    assert admin.post(AT, data={"name": "mine", "scope": "read"}).status_code == 403
    assert admin.post(f"{AT}/1/revoke").status_code == 403
    assert [(row["name"], row["revoked_at"]) for row in rows(world)] == [("worker", None)]


def test_one_sees_everybodys_tokens_and_revokes_them(world, admin):
    make(world.signed_in("eve", "admin"), name="<b>eve's</b>")
    assert "&lt;b&gt;eve&#39;s&lt;/b&gt;" in admin.get(AT).text
    world.database.write(lambda c: c.execute(account.update().where(account.c.login == "eve").values(disabled_at=1.0)))
    page = admin.get(AT).text
    assert "kept out" in page
    assert admin.post(f"{AT}/1/revoke", data={"csrf": csrf(page)}).status_code == 303
    assert rows(world)[0]["revoked_at"] is not None


def test_it_is_found_from_the_page_of_people(world, admin):
    assert f'href="{AT}"' in admin.get("/lead/people").text
    assert f'href="{AT}"' not in world.signed_in("lead", "lead").get("/lead/people").text
