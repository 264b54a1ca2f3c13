import json

import pytest
from tests.collect.people_world import FIRST, add_account, answer, take

from truing.records import Prompt

SETTINGS = {"name": "june", "overlap": 2, "gold_share": 0.0, "repeat_share": 0.0}


def items_body(count, **more):
    rows = [
        {
            "external_id": f"pair-{n}",
            "prompt": Prompt.from_text(f"Question {n}?").model_dump(mode="json"),
            "responses": [f"First {n}", f"Second {n}"],
            "policies": ["base", "tuned"],
            **more,
        }
        for n in range(count)
    ]
    return "\n".join(json.dumps(row) for row in rows)


@pytest.fixture
def api(world):
    return world.api("read", "campaigns", "people")


@pytest.fixture
def campaign_id(api):
    return api.post("/api/v1/campaigns", json=SETTINGS).json()["id"]


def test_a_campaign_is_made_filled_worked_and_read(world, api, campaign_id):
    added = api.post(f"/api/v1/campaigns/{campaign_id}/items", content=items_body(3))
    assert (added.status_code, len(added.json()["ids"])) == (201, 3)
    rater = add_account(world.database, "r-1", name="A Name")
    answer(world.database, rater, take(world.database, campaign_id, rater), FIRST)
    found = api.get(f"/api/v1/campaigns/{campaign_id}").json()
    assert (found["status"], found["progress"]["needed"], found["progress"]["done"]) == ("open", 6, 1)
    assert found["config"]["overlap"] == 2
    (judgment,) = api.get(f"/api/v1/campaigns/{campaign_id}/judgments").json()["judgments"]
    assert (judgment["rater"], judgment["item"], judgment["answers"][0]["choice"]) == ("r-1", "pair-0", "first")
    assert "A Name" not in json.dumps(judgment)
    (first, *_) = api.get(f"/api/v1/campaigns/{campaign_id}/items").json()["items"]
    assert first["policies"] == ["base", "tuned"]


def test_pages_follow_each_other(api, campaign_id):
    api.post(f"/api/v1/campaigns/{campaign_id}/items", content=items_body(5))
    seen, after = [], 0
    while after is not None:
        page = api.get(f"/api/v1/campaigns/{campaign_id}/items", params={"after": after, "limit": 2}).json()
        seen += [item["external_id"] for item in page["items"]]
        after = page["next"]
    assert seen == [f"pair-{n}" for n in range(5)]


def test_items_are_added_all_or_none(api, campaign_id):
    url = f"/api/v1/campaigns/{campaign_id}/items"
    bad = items_body(2) + '\n{"external_id": "x"}'
    refused = api.post(url, content=bad)
    assert (refused.status_code, refused.json()["error"]["message"][:6]) == (400, "line 3")
    assert api.post(url, content=items_body(2, responses=["one"])).status_code == 400
    assert api.get(url).json()["items"] == []
    api.post(url, content=items_body(2))
    again = api.post(url, content=items_body(3))
    assert (again.status_code, again.json()["error"]["code"]) == (409, "conflict")
    assert len(api.get(url).json()["items"]) == 2


def test_the_budget_holds(api):
    campaign_id = api.post("/api/v1/campaigns", json={**SETTINGS, "max_judgments": 5}).json()["id"]
    refused = api.post(f"/api/v1/campaigns/{campaign_id}/items", content=items_body(3))
    assert "need 6 judgments, and the budget has 5 left" in refused.json()["error"]["message"]
    assert api.post(f"/api/v1/campaigns/{campaign_id}/items", content=items_body(2)).status_code == 201


def test_a_campaign_starts_from_a_preset_and_a_wrong_key_is_named(api):
    made = api.post("/api/v1/campaigns", json={"name": "hh-1", "preset": "hh"}).json()
    assert made["config"]["tasks"] == [{"type": "pair", "steps_each_side": 4, "tie": False, "both_bad": False}]
    wrong = api.post("/api/v1/campaigns", json={"name": "x", "overlop": 2})
    assert "did you mean 'overlap'" in wrong.json()["error"]["message"]
    unknown = api.post("/api/v1/campaigns", json={"name": "x", "preset": "none"})
    assert "instructgpt" in unknown.json()["error"]["message"]


def test_pausing_stops_handing_out(api, campaign_id, world):
    api.post(f"/api/v1/campaigns/{campaign_id}/items", content=items_body(1))
    assert api.post(f"/api/v1/campaigns/{campaign_id}/status", json={"status": "paused"}).json()["status"] == "paused"
    rater = world.signed_in("rater")
    assert "Nothing is handed out just now" in rater.get(f"/rate/{campaign_id}").text
    api.post(f"/api/v1/campaigns/{campaign_id}/status", json={"status": "open"})
    assert "data-lease" in rater.get(f"/rate/{campaign_id}").text


def test_tokens_do_what_their_scopes_say_until_they_are_revoked(world, api):
    made = api.post("/api/v1/tokens", json={"name": "ci", "scopes": ["read"]}).json()
    reader = {"authorization": f"Bearer {made['token']}"}
    program = world.browser()
    assert program.get("/api/v1/campaigns", headers=reader).status_code == 200
    refused = program.post("/api/v1/campaigns", json=SETTINGS, headers=reader)
    assert (refused.status_code, refused.json()["error"]["message"]) == (
        403,
        "this token lacks the scope 'campaigns'; it has read",
    )
    listed = {row["name"]: row["token"] for row in api.get("/api/v1/tokens").json()}
    assert listed["ci"] is None
    assert api.delete(f"/api/v1/tokens/{made['id']}").status_code == 204
    assert program.get("/api/v1/campaigns", headers=reader).status_code == 401
    assert api.delete(f"/api/v1/tokens/{made['id']}").status_code == 404


def test_a_token_cannot_do_more_than_its_owner(world):
    lead = world.api("campaigns", role="lead")
    assert lead.post("/api/v1/tokens", json={"name": "x", "scopes": ["read"]}).status_code == 403
    browser = world.signed_in("rater")
    assert browser.get("/api/v1/campaigns").status_code == 403


def test_a_rater_signed_in_reaches_no_policy_through_the_api(world, api, campaign_id):
    api.post(f"/api/v1/campaigns/{campaign_id}/items", content=items_body(1))
    browser = world.signed_in("rater")
    for path in ("items", "judgments", ""):
        assert browser.get(f"/api/v1/campaigns/{campaign_id}/{path}".rstrip("/")).status_code == 403


def test_guidelines_and_invitations(world, api):
    text = "Read.\n\n## Truth {#truth}\n\nTruth first.\n"
    made = api.post("/api/v1/guidelines", json={"name": "main", "text": text})
    assert (made.status_code, made.json()["version"]) == (201, 1)
    campaign = api.post("/api/v1/campaigns", json={**SETTINGS, "guideline": "main"})
    assert campaign.status_code == 201
    link = api.post("/api/v1/invites", json={"role": "rater"}).json()["link"]
    assert world.browser().get(link.removeprefix("http://testserver")).status_code == 200
    assert api.post("/api/v1/campaigns", json={**SETTINGS, "name": "b", "guideline": "none"}).status_code == 404
