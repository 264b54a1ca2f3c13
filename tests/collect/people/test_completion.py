"""Completion codes."""

from __future__ import annotations

from tests.collect.people_world import add_account, add_campaign, add_items, answer, take

from truing.collect.people import completion
from truing.collect.people.config import CompletionConfig

OWN = CompletionConfig(items=2)


def test_the_platforms_code_comes_at_the_end_with_the_way_back():
    config = CompletionConfig(items=2, code="C1ABC", return_url="https://platform.example/complete?cc={code}")
    assert not completion.session(config, 1, b"key", 1, "r1").is_complete
    done = completion.session(config, 2, b"key", 1, "r1")
    assert (done.code, done.return_url) == ("C1ABC", "https://platform.example/complete?cc=C1ABC")


def test_own_codes_differ_by_rater_campaign_and_secret():
    codes = {completion.own_code(key, c, r) for key in (b"a", b"b") for c in (1, 2) for r in ("r1", "r2")}
    assert len(codes) == 8
    assert all(len(code) == 10 and code.isalnum() for code in codes)


def test_a_code_handed_in_leads_to_its_rater_if_it_was_earned(database):
    rater = add_account(database, "r1")
    campaign_id = add_campaign(database)
    add_items(database, campaign_id, 2)
    code = completion.own_code(b"key", campaign_id, "r1")
    for n in range(2):
        with database.read() as c:
            assert completion.answered(c, campaign_id, rater) == n
            assert completion.whose(c, OWN, b"key", campaign_id, code) is None
        answer(database, rater, take(database, campaign_id, rater, now=10.0 + n), now=10.5 + n)
    with database.read() as c:
        assert completion.whose(c, OWN, b"key", campaign_id, code.lower() + " ") == "r1"
        assert completion.whose(c, OWN, b"key", campaign_id, "AAAAAAAAAA") is None
