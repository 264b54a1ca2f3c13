import filecmp
from collections import Counter

import pytest

from truing.collect import judgments
from truing.collect.answers import CritiqueAnswer, PairAnswer, RankingAnswer
from truing.collect.config import CritiqueTask, PairTask, RankingTask, ScalesTask
from truing.collect.errors import ConflictError, FrozenError, NotFoundError, ServiceError
from truing.collect.exchange import exports, sets
from truing.collect.exchange.answered import AnswerRow, ItemRow, as_judged
from truing.collect.exchange.convert import convert, judged_of_set
from truing.collect.exchange.tables import REMARKS, read_table
from truing.collect.schema import export, export_member, judgment
from truing.data.formats import read_pairs
from truing.errors import TruingError
from truing.raters.labels import soft_labels
from truing.records import Prompt

NOW = 1_750_000_000.0


def export_now(desk, name="june", **settings):
    config = exports.ExportConfig(**{"campaigns": ("demo",), **settings})
    export_id = desk.database.write(lambda connection: exports.begin(connection, name, config, now=NOW))
    return exports.run(desk.database, export_id, desk.folder, now=NOW)


@pytest.fixture
def judged(desk):
    """Five items, two raters; the second of them skipped one and took one back."""
    campaign_id = desk.campaign()
    desk.items(campaign_id, 5, strategy="uniform", propensity=0.25, source="sampled")
    ann, bob = desk.rater("fern"), desk.rater("moss")
    desk.work(campaign_id, ann, 5, clause="short", flags=("unsafe",), active_s=7.5)
    done = desk.work(campaign_id, bob, 4, PairAnswer(choice="tie", margin=0, both_bad=True))
    desk.database.write(lambda c: judgments.undo(c, bob, done[3].lease_id, "undo-key-1", now=NOW + 5))
    return campaign_id, ann, bob, done


def test_what_was_answered_comes_out_with_everything_known_of_it(desk, judged):
    made = export_now(desk)
    found = list(judged_of_set(made.path))
    assert [p.comparison.comparison_id for p in found] == [f"item-{i:03d}" for i in range(5)]
    first = found[0]
    assert (first.comparison.strategy, first.comparison.propensity) == ("uniform", 0.25)
    assert first.comparison.policies == ("policy-a", "policy-b")
    fern, moss = first.judgments
    assert (fern.rater_id, fern.choice, fern.margin, fern.clause, fern.flags) == ("fern", "first", 2, "short", ("unsafe",))
    assert (fern.active_s, fern.simulated, fern.judged_at[:10]) == (7.5, True, "2025-06-15")
    assert (moss.choice, moss.both_bad, moss.confidence) == ("tie", True, 0.5)
    stored = {row["id"]: row["screen_order"] for row in desk.rows(judgment)}
    assert all((j.left == "first") == (stored[int(j.judgment_id)] == [0, 1]) for p in found for j in p.judgments)
    assert {j.left for p in found for j in p.judgments} == {"first", "second"}
    _, summary = sets.open_set(made.path)
    assert [(e.reason, e.count) for e in summary.exclusions] == [("taken back by the rater", 1)]
    assert (summary.campaigns, summary.judgments) == (("demo",), 8)
    assert [(u.name, u.version) for u in summary.guidelines] == [("main", 3)]


def test_what_is_exported_cannot_be_taken_back_and_the_rest_can(desk, judged):
    campaign_id, _, bob, done = judged
    export_now(desk)
    with pytest.raises(FrozenError):
        desk.database.write(lambda c: judgments.undo(c, bob, done[0].lease_id, "undo-key-2", now=NOW + 5))
    (later,) = desk.work(campaign_id, bob, 1)
    desk.database.write(lambda c: judgments.undo(c, bob, later.lease_id, "undo-key-3", now=NOW + 5))
    assert len(desk.rows(export_member)) == 8


def test_the_same_data_give_the_same_bytes_under_any_name_and_when_written_again(desk, judged):
    campaign_id, _, bob, _ = judged
    one, two = export_now(desk, "one", pairs=("trl",)), export_now(desk, "two", pairs=("trl",))
    names = [entry.path for entry in one.manifest.files]
    assert filecmp.cmpfiles(one.path, two.path, names, shallow=False) == (names, [], [])
    assert one.artifact_hash == two.artifact_hash
    desk.work(campaign_id, bob, 5)
    two.path.rename(desk.folder / "before")
    (row,) = [row for row in desk.rows(export) if row["name"] == "two"]
    again = exports.run(desk.database, row["id"], desk.folder, now=NOW + 99)
    assert again.artifact_hash == one.artifact_hash
    assert filecmp.cmpfiles(one.path, again.path, names, shallow=False)[0] == names


def test_a_killed_export_goes_on_where_it_stopped(desk, judged, monkeypatch):
    monkeypatch.setattr(exports, "IDS_A_STEP", 2)
    config = exports.ExportConfig(campaigns=("demo",))
    export_id = desk.database.write(lambda c: exports.begin(c, "june", config, now=NOW))
    freeze_step = exports.freeze_step
    assert desk.database.write(lambda c: freeze_step(c, export_id))
    with desk.database.read() as connection:
        assert exports.unfinished(connection) == [export_id]
        assert exports.get(connection, export_id)["state"] == "freezing"
    (desk.folder / "june.partial").mkdir(parents=True)
    made = exports.run(desk.database, export_id, desk.folder, now=NOW)
    assert made.manifest.metrics["judgments"] == 8
    with desk.database.read() as connection:
        assert exports.unfinished(connection) == []
        assert exports.get(connection, export_id)["set_hash"] == made.manifest.metrics["set_hash"]
    assert exports.run(desk.database, export_id, desk.folder, now=NOW).artifact_hash == made.artifact_hash


def test_what_comes_after_it_began_is_not_in_it(desk, judged):
    campaign_id, _, bob, _ = judged
    config = exports.ExportConfig(campaigns=("demo",))
    export_id = desk.database.write(lambda c: exports.begin(c, "june", config, now=NOW))
    assert len(desk.work(campaign_id, bob, 5)) == 2
    assert exports.run(desk.database, export_id, desk.folder, now=NOW).manifest.metrics["judgments"] == 8
    assert export_now(desk, "july").manifest.metrics["judgments"] == 10


def test_rankings_become_all_their_pairs_in_one_group(desk):
    campaign_id = desk.campaign(tasks=(RankingTask(),), overlap=1)
    desk.items(campaign_id, 2, responses=3)
    desk.work(campaign_id, desk.rater("fern"), 2, RankingAnswer(ranks=(2, 1, 2)))
    found = list(judged_of_set(export_now(desk).path))
    assert [p.comparison.comparison_id for p in found[:3]] == ["item-000#0-1", "item-000#0-2", "item-000#1-2"]
    assert [p.judgments[0].choice for p in found[:3]] == ["second", "tie", "first"]
    assert {p.comparison.group for p in found} == {"item-000", "item-001"}


def test_a_ranking_stays_one_on_its_way_to_training(desk):
    """Exported by the service, frozen as preferences, and read from the pairs written for other programs."""
    campaign_id = desk.campaign(tasks=(RankingTask(),), overlap=2)
    desk.items(campaign_id, 4, responses=4)
    for rater in ("fern", "moss"):
        desk.work(campaign_id, desk.rater(rater), 4, RankingAnswer(ranks=(2, 1, 2, 4)))
    made = export_now(desk, pairs=("trl",))
    found = list(judged_of_set(made.path))
    labelled = soft_labels([p.comparison for p in found], [j for p in found for j in p.judgments])
    assert Counter(pair.ranking for pair in labelled) == {f"item-{i:03d}": 6 for i in range(4)}
    assert [pair.label for pair in labelled[:6]] == [1.0, 0.5, 1.0, 1.0, 1.0, 1.0]
    written = read_pairs(made.path / "pairs" / "trl.jsonl")
    assert Counter(pair.ranking for pair in written) == {f"item-{i:03d}": 5 for i in range(4)}, "no place for a tie there"
    converted = sets.read_comparisons(convert(made.path / "pairs" / "trl.jsonl", desk.folder / "converted").path)
    assert {comparison.group for comparison in converted} == {f"item-{i:03d}" for i in range(4)}


def test_remarks_go_along(desk):
    campaign_id = desk.campaign(tasks=(PairTask(), CritiqueTask()), overlap=1)
    desk.items(campaign_id, 1)
    rater = desk.rater("fern")

    def step(connection):
        import random

        from truing.collect import campaigns, leases

        row = campaigns.get(connection, campaign_id)
        found = leases.next_lease(connection, row, campaigns.config_of(row), rater, now=NOW, rng=random.Random(0))
        answers = (PairAnswer(choice="first", margin=1), CritiqueAnswer(text="too long"))
        sent = judgments.Submission(lease_id=found.lease_id, idempotency_key="key-12345", answers=answers)
        return judgments.submit(connection, rater, sent, now=NOW)

    desk.database.write(step)
    made = export_now(desk)
    (remark,) = read_table(made.path, REMARKS)
    assert (remark.item_id, remark.rater_id, remark.type) == ("item-000", "fern", "critique")
    assert remark.content == '{"of_responses":[],"text":"too long"}'
    assert next(judged_of_set(made.path)).remarks == (remark,)


def test_an_item_that_two_campaigns_share_is_one_comparison(desk):
    for name, rater in (("demo", "fern"), ("other", "moss")):
        campaign_id = desk.campaign(name)
        desk.items(campaign_id, 2)
        desk.work(campaign_id, desk.rater(rater), 2)
    found = list(judged_of_set(export_now(desk, campaigns=("demo", "other")).path))
    assert [[j.rater_id for j in p.judgments] for p in found] == [["fern", "moss"], ["fern", "moss"]]
    third = desk.campaign("third", tasks=(RankingTask(),))
    desk.items(third, 1, responses=3)
    desk.work(third, desk.rater("reed"), 1, RankingAnswer(ranks=(1, 2, 3)))
    with pytest.raises(TruingError, match="export those campaigns separately"):
        export_now(desk, "all", campaigns=("demo", "third"))
    failed = next(row for row in desk.rows(export) if row["name"] == "all")
    assert failed["state"] == "failed"
    assert "separately" in failed["error"]


def test_an_export_that_failed_can_be_begun_again_under_its_name_and_no_other_can(desk, judged, monkeypatch):
    def no_room(*_):
        raise TruingError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(exports, "write_set", no_room)
        with pytest.raises(TruingError, match="disk is full"):
            export_now(desk)
    with pytest.raises(ConflictError, match="choose another name"):
        export_now(desk, pairs=("trl",))
    assert len(list(judged_of_set(export_now(desk).path))) == 5
    with pytest.raises(ConflictError, match="choose another name"):
        export_now(desk)


def test_gold_and_repeats_are_marked(desk):
    gold = {"purpose": "gold", "gold": (PairAnswer(choice="second", margin=1),)}
    campaign_id = desk.campaign(gold_share=0.5, repeat_share=0.0, overlap=1)
    desk.items(campaign_id, 1, **gold)
    comparison = as_judged(
        ItemRow("x", Prompt.from_text("q"), ("a", "b"), ("p", "q"), gold["gold"], "", "", "", None),
        [
            AnswerRow(1, "fern", False, gold["gold"], (1, 0), (), "", "", None, NOW, False, False),
            AnswerRow(2, "fern", False, gold["gold"], (), (), "", "", None, NOW, True, True),
        ],
    )
    (pair,) = comparison
    assert pair.comparison.gold == "second"
    assert [(j.left, j.repeat, j.surplus) for j in pair.judgments] == [("second", False, False), (None, True, True)]


@pytest.mark.parametrize(
    ("name", "settings", "error", "message"),
    [
        ("june", {"campaigns": ("nobody",)}, NotFoundError, "no campaign 'nobody'"),
        ("../june", {}, ServiceError, "without slashes"),
        (".june", {}, ServiceError, "leading dot"),
        ("j\u00fc" * 70, {}, ServiceError, "at most 200 bytes"),
        ("june\n", {}, ServiceError, "folder's name"),
        ("june", {"campaigns": ("scores",)}, ServiceError, "no preferences"),
    ],
)
def test_what_cannot_be_exported_is_refused(desk, judged, name, settings, error, message):
    desk.campaign("scores", tasks=(ScalesTask(attributes=({"name": "help"},)),))
    with pytest.raises(error, match=message):
        export_now(desk, name, **settings)


def test_a_name_is_used_once(desk, judged):
    export_now(desk)
    with pytest.raises(ConflictError, match="already"):
        export_now(desk)
