from pathlib import Path

import pytest

from truing.collect.config import RankingTask
from truing.collect.errors import ConflictError, ServiceError
from truing.collect.exchange import exports
from truing.collect.exchange.convert import judged_of_set
from truing.collect.exchange.formats import read_judged
from truing.collect.exchange.importing import import_judged
from truing.collect.exchange.judged import Answer, Vote, judged, user_prompt
from truing.collect.schema import account, item, judgment, slot
from truing.data.files import Row

FIXTURES = Path(__file__).parent / "fixtures"
NOW = 1_750_000_000.0


def read(name):
    return list(read_judged(next(FIXTURES.glob(f"{name}.json*"))))


def told(judgment):
    return [str(getattr(judgment, field)) for field in ("left", "choice", "both_bad", "simulated", "repeat")]


def put(desk, campaign_id, rows, *, with_judgments=True):
    return import_judged(desk.database, campaign_id, rows, with_judgments=with_judgments, now=NOW)


@pytest.mark.parametrize("name", ["ukpconvarg1", "pandalm", "chatbot_arena", "helpsteer2_preference", "argilla", "hh_rlhf"])
def test_what_is_imported_is_exported_again(desk, name):
    rows = read(name)
    campaign_id = desk.campaign(overlap=2, guideline="")
    added = put(desk, campaign_id, rows)
    assert (added.items, added.judgments) == (len(rows), sum(len(p.judgments) for p in rows))
    config = exports.ExportConfig(campaigns=("demo",))
    export_id = desk.database.write(lambda c: exports.begin(c, "again", config, now=NOW))
    made = exports.run(desk.database, export_id, desk.folder, now=NOW)
    found = {p.comparison.comparison_id: p for p in judged_of_set(made.path)}
    for pair in rows:
        again = found[pair.comparison.comparison_id]
        assert again.comparison == pair.comparison
        assert sorted(map(told, again.judgments)) == sorted(map(told, pair.judgments))


def test_an_import_made_twice_adds_nothing(desk):
    campaign_id = desk.campaign(guideline="")
    rows = read("pandalm")
    put(desk, campaign_id, rows[:1])
    again = put(desk, campaign_id, rows)
    assert (again.items, again.present, again.judgments) == (1, 1, 3)
    assert put(desk, campaign_id, rows).judgments == 0
    assert len(desk.rows(judgment)) == 6


def test_needs_are_filled_and_what_is_beyond_them_is_surplus(desk):
    campaign_id = desk.campaign(overlap=2, guideline="")
    put(desk, campaign_id, read("pandalm")[:1])
    assert [row["state"] for row in desk.rows(slot)] == ["done", "done"]
    assert sorted(row["is_surplus"] for row in desk.rows(judgment)) == [False, False, True]
    assert desk.work(campaign_id, desk.rater("fern"), 1) == [], "nothing is left to rate"


def test_without_judgments_everything_is_still_to_be_rated(desk):
    campaign_id = desk.campaign(overlap=2, guideline="")
    put(desk, campaign_id, read("pandalm"), with_judgments=False)
    assert len(desk.rows(judgment)) == 0
    assert len(desk.work(campaign_id, desk.rater("fern"), 5)) == 2


def test_raters_of_the_file_can_not_sign_in_and_carry_no_name_out(desk):
    campaign_id = desk.campaign(guideline="")
    put(desk, campaign_id, read("ukpconvarg1"))
    rows = [row for row in desk.rows(account) if row["pseudonym"].startswith("import-")]
    assert sorted(row["name"] for row in rows) == ["w1", "w2", "w3"]
    assert all(row["disabled_at"] and row["password_hash"] is None and row["login"] is None for row in rows)


def test_known_answers_become_gold_items(desk):
    campaign_id = desk.campaign(guideline="")
    put(desk, campaign_id, read("label_studio"))
    (row,) = desk.rows(item)
    assert (row["purpose"], row["gold"][0]["choice"]) == ("gold", "first")


def test_a_rater_who_voted_twice_repeated(desk):
    campaign_id = desk.campaign(guideline="")
    votes = [Vote("ann", "first"), Vote("ann", "second")]
    put(desk, campaign_id, [judged(Row("x:1", {}), user_prompt("q"), (Answer("a"), Answer("b")), votes)])
    assert [(row["occasion"], row["purpose"]) for row in desk.rows(judgment)] == [(0, "task"), (1, "repeat")]


def test_campaigns_that_do_not_fit_refuse(desk):
    with pytest.raises(ServiceError, match="does not ask for pairs"):
        put(desk, desk.campaign("ranks", tasks=(RankingTask(),)), read("pandalm"))
    with pytest.raises(ConflictError, match="budget"):
        put(desk, desk.campaign("small", max_judgments=1), read("pandalm"))
