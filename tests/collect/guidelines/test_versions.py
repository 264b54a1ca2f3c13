"""Guideline versions: added, never changed; followed by campaigns; confirmed by raters."""

from __future__ import annotations

import pytest
from tests.collect.people_world import add_account, add_campaign

from truing.collect import campaigns
from truing.collect.errors import ConflictError, NotFoundError, ServiceError
from truing.collect.guidelines import versions

FIRST = "# Rating\n\n## Right {#right}\n\nWrong loses.\n"
SECOND = FIRST + "\n## Short {#short}\n\nShort wins.\n"


def test_a_version_follows_the_one_it_was_edited_from(database):
    one = database.write(lambda c: versions.publish(c, "help", FIRST, now=1.0))
    two = database.write(lambda c: versions.publish(c, "help", SECOND, now=2.0, after=1, change_note="length"))
    assert (one.guideline.version, two.guideline.version) == (1, 2)
    with database.read() as c:
        assert [v.guideline.version for v in versions.history(c, "help")] == [2, 1]
        assert versions.numbered(c, "help", 1).guideline.text == FIRST
        assert [v.name for v in versions.all_newest(c)] == ["help"]


def test_two_leads_do_not_overwrite_each_other(database):
    database.write(lambda c: versions.publish(c, "help", FIRST, now=1.0))
    database.write(lambda c: versions.publish(c, "help", SECOND, now=2.0, after=1))
    with pytest.raises(ConflictError, match="version 2"):
        database.write(lambda c: versions.publish(c, "help", FIRST + "more", now=3.0, after=1))


@pytest.mark.parametrize(
    ("text", "problem"),
    [("  \n", "empty"), ("## A {#x}\n\n## B {#x}\n", "'x'"), ("x" * 100_001, "longer")],
)
def test_what_raters_cannot_be_given_is_refused(database, text, problem):
    with pytest.raises(ServiceError, match=problem):
        database.write(lambda c: versions.publish(c, "help", text, now=1.0))


def test_a_text_has_one_hash_whatever_the_browser_makes_of_its_line_ends(database):
    one = database.write(lambda c: versions.publish(c, "help", FIRST.replace("\n", "\r\n"), now=1.0))
    assert one.guideline.text == FIRST
    with pytest.raises(ServiceError, match="nothing was changed"):
        database.write(lambda c: versions.publish(c, "help", FIRST, now=2.0, after=1))


def test_campaigns_of_that_name_go_over_and_closed_ones_stay(database):
    one = database.write(lambda c: versions.publish(c, "help", FIRST, now=1.0))
    open_id, closed_id = (add_campaign(database, name, guideline="help") for name in ("open", "closed"))
    database.write(lambda c: campaigns.set_status(c, closed_id, "closed", now=1.5))
    two = database.write(lambda c: versions.publish(c, "help", SECOND, now=2.0, after=1))
    with database.read() as c:
        assert campaigns.get(c, open_id)["guideline_id"] == two.guideline_id
        assert campaigns.get(c, closed_id)["guideline_id"] == one.guideline_id


def test_a_rater_confirms_a_version_once_and_is_shown_what_is_new_since(database):
    rater = add_account(database, "r1")
    one = database.write(lambda c: versions.publish(c, "help", FIRST, now=1.0))
    for _ in range(2):
        database.write(lambda c: versions.confirm(c, rater, one.guideline_id, now=1.5))
    two = database.write(lambda c: versions.publish(c, "help", SECOND, now=2.0, after=1))
    with database.read() as c:
        assert versions.has_confirmed(c, rater, one.guideline_id)
        assert not versions.has_confirmed(c, rater, two.guideline_id)
        last = versions.last_confirmed(c, rater, "help")
    assert last is not None
    assert last.guideline.version == 1


def test_what_is_not_there_says_so(database):
    with database.read() as c:
        assert versions.newest(c, "none") is None
        for ask in (lambda: versions.get(c, 9), lambda: versions.numbered(c, "none", 1), lambda: versions.history(c, "none")):
            with pytest.raises(NotFoundError):
                ask()


def test_a_clause_id_that_no_judgment_could_name_is_refused(database):
    text = f"# Rating\n\n## Long {{#{'a' * 101}}}\n\nText.\n"
    with pytest.raises(ServiceError, match="at most 100 characters; the longest has 101"):
        database.write(lambda c: versions.publish(c, "help", text, now=1.0))
