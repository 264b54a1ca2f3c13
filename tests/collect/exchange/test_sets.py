import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from truing.collect.exchange import sets
from truing.collect.exchange.convert import ConvertConfig, convert, gathered, judged_of_set
from truing.collect.exchange.formats import read_judged
from truing.collect.exchange.judged import Answer, Judged, Vote, judged, user_prompt
from truing.collect.exchange.pairs import preferred
from truing.collect.exchange.tables import COMPARISONS, JUDGMENTS, TableWriter, read_table
from truing.data.files import Row
from truing.data.formats import read_pairs
from truing.errors import TruingError
from truing.records import Comparison, Guideline, Judgment, Message, Prompt
from truing.store.artifacts import Draft, Store, verify

FIXTURES = Path(__file__).parent / "fixtures"
TEXT = st.text(max_size=20)  # surrogates are left out by default
PROMPTS = st.builds(
    Prompt.from_messages,
    st.lists(st.builds(Message, role=st.sampled_from(["system", "user", "assistant"]), content=TEXT), min_size=1).map(tuple),
    st.just("plain"),
    st.dictionaries(TEXT, st.one_of(TEXT, st.integers(-9, 9), st.none()), max_size=2),
)
ANY_COMPARISON = st.builds(
    Comparison,
    prompt=PROMPTS,
    comparison_id=TEXT,
    first=TEXT,
    second=TEXT,
    policies=st.tuples(TEXT, TEXT),
    propensity=st.one_of(st.none(), st.floats(0, 1, exclude_min=True)),
    gold=st.sampled_from([None, "first", "second", "tie"]),
)


def pair(text, *votes, **more):
    """A judged pair of answers to `text`, by (rater, choice)."""
    answers = (Answer(f"{text} a"), Answer(f"{text} b"))
    return judged(Row("made.jsonl:1", {}), user_prompt(text), answers, [Vote(r, c) for r, c in votes], **more)


def begin(root, name="set"):
    draft = Store(root).begin(sets.STAGE, name, ConvertConfig(), {})
    assert isinstance(draft, Draft)
    return draft


@settings(max_examples=40, deadline=None)
@given(st.lists(ANY_COMPARISON, max_size=5))
def test_any_comparison_comes_back_from_parquet(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("table")
    with TableWriter(folder, COMPARISONS) as writer:
        for row in rows:
            writer.add(row)
    assert list(read_table(folder, COMPARISONS)) == rows


def test_every_field_of_a_judgment_is_a_column():
    assert set(JUDGMENTS.schema.names) == set(Judgment.model_fields)
    inside = {"prompt_id", "prompt_kind", "prompt_meta", "policy_first", "policy_second"}
    assert set(COMPARISONS.schema.names) - inside == set(Comparison.model_fields) - {"policies"}


@pytest.mark.parametrize("name", ["ukpconvarg1.jsonl", "chatbot_arena.jsonl", "helpsteer2_preference.jsonl", "oasst.jsonl"])
def test_a_set_holds_what_the_file_held_and_a_set_of_it_is_equal(tmp_path, name):
    first = convert(FIXTURES / name, tmp_path / "one")
    assert list(judged_of_set(first.path)) == list(read_judged(FIXTURES / name))
    again = convert(first.path, tmp_path / "two")
    assert again.manifest.metrics["set_hash"] == first.manifest.metrics["set_hash"]
    assert verify(first) == []


def test_the_same_data_make_the_same_bytes(tmp_path):
    config = ConvertConfig(pairs=("trl", "trl_conversational", "hh_rlhf", "jsonl"))
    one, two = (convert(FIXTURES / "argilla.jsonl", tmp_path / name, config) for name in ("one", "two"))
    assert one.artifact_hash == two.artifact_hash
    files = [entry.path for entry in one.manifest.files]
    assert len(files) == 10
    assert all((one.path / name).read_bytes() == (two.path / name).read_bytes() for name in files)


def test_the_summary_counts_by_hand(tmp_path):
    guideline = Guideline(version=3, text="# G\n")
    rows = [pair("p", ("ann", "first"), ("bob", "tie"), gold="first"), pair("q", ("ann", "second"))]
    under = {"guideline_hash": guideline.guideline_hash}
    chosen = rows[0].comparison.model_copy(update={"strategy": "uniform", "propensity": 0.5})
    rows[0] = Judged(chosen, tuple(j.model_copy(update=under) for j in rows[0].judgments))
    late = {"repeat": True, "surplus": True, "simulated": True}
    rows[1] = Judged(rows[1].comparison, (rows[1].judgments[0].model_copy(update=late),))
    source = sets.SetSource("service", rows, [sets.NamedGuideline("main", guideline)], ("c",), {"skipped": 4, "none": 0})
    made = sets.write_set(begin(tmp_path), source)
    _, summary = sets.open_set(made.path)
    assert (summary.comparisons, summary.judgments, summary.raters) == (2, 3, 2)
    assert (summary.gold, summary.repeats, summary.surplus, summary.simulated) == (2, 1, 1, 1)
    uses = [(u.guideline_hash, u.name, u.version, u.judgments) for u in summary.guidelines]
    assert uses == [("", None, None, 1), (guideline.guideline_hash, "main", 3, 2)]
    assert [(s.strategy, s.comparisons, s.propensity_mean) for s in summary.selection] == [("", 1, None), ("uniform", 1, 0.5)]
    assert [(e.reason, e.count) for e in summary.exclusions] == [("skipped", 4)]
    assert sets.read_guidelines(made.path) == [sets.NamedGuideline("main", guideline)]
    assert made.manifest.notes == (
        "judgments from service: c",
        "raters simulated: 1 of 3 judgments",
        "left out: 4 (skipped)",
    )


def test_a_set_that_fails_leaves_nothing(tmp_path):
    def rows():
        yield pair("p", ("ann", "first"))
        raise RuntimeError

    with pytest.raises(RuntimeError):
        sets.write_set(begin(tmp_path), sets.SetSource("x", rows()))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TruingError, match="no judgments"):
        sets.write_set(begin(tmp_path), sets.SetSource("x", []))
    with pytest.raises(TruingError, match="not a judgment set"):
        sets.open_set(tmp_path)


def test_votes_make_one_pair_and_repeats_do_not_count():
    row = pair("p", ("ann", "second"), ("bob", "tie"), ("ann", "first"))
    again = row.judgments[2].model_copy(update={"repeat": True})
    found = preferred(Judged(row.comparison, (*row.judgments[:2], again)))
    assert (found.chosen, found.label, found.judgments) == ("p b", 0.75, 2)
    assert preferred(row) is None, "two against one and a half is even: 0.0 + 0.5 + 1.0"


def test_other_formats_are_read_back_as_the_same_preferences(tmp_path):
    config = ConvertConfig(pairs=("trl", "trl_conversational", "hh_rlhf"))
    made = convert(FIXTURES / "oasst.jsonl", tmp_path / "set", config)
    counts = sets.open_set(made.path)[1].pairs
    assert counts["trl"] == {"written": 3, "even": 0, "no_place": 1}, "one pair answers a conversation"
    conversational = read_pairs(made.path / "pairs" / "trl_conversational.jsonl")
    transcripts = read_pairs(made.path / "pairs" / "hh_rlhf.jsonl")
    assert [(p.prompt.messages, p.chosen, p.rejected) for p in conversational] == [
        (p.prompt.messages, p.chosen, p.rejected) for p in transcripts
    ]
    row = json.loads((made.path / "pairs" / "trl.jsonl").read_text().splitlines()[0])
    assert (row["prompt"], row["chosen"], row["rejected"]) == ("What is dew?", "Water that condenses at night.", "Rain.")


def test_ranked_answers_share_a_group_and_are_all_there(tmp_path):
    found = list(sets.read_comparisons(convert(FIXTURES / "oasst.jsonl", tmp_path / "set").path))
    groups = {}
    for comparison in found:
        groups.setdefault(comparison.group, []).append(comparison)
    assert sorted(len(g) for g in groups.values()) == [1, 3]


def test_a_pair_that_comes_twice_is_one_comparison_and_its_raters_have_one_vote():
    one, other = pair("p", ("ann", "first"), ("bob", "tie")), pair("p", ("ann", "second"), ("cy", "first"))
    (found,) = gathered([one, other])
    assert [(j.rater_id, j.repeat) for j in found.judgments] == [("ann", False), ("bob", False), ("ann", True), ("cy", False)]


def test_bad_rows_stop_or_are_counted(tmp_path):
    rows = [json.loads(line) for line in (FIXTURES / "hh_rlhf.jsonl").read_text().splitlines()]
    rows.append({"chosen": rows[0]["chosen"], "rejected": rows[0]["chosen"]})
    bad = tmp_path / "bad.jsonl"
    bad.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(TruingError, match=r"bad\.jsonl:3.*--bad-rows drop"):
        convert(bad, tmp_path / "set")
    made = convert(bad, tmp_path / "set", ConvertConfig(bad_rows="drop"))
    (note,) = made.manifest.notes
    assert note.startswith("left out: 1 (rows that cannot be read; the first: bad.jsonl:3:")


def test_a_guideline_can_be_named_and_own_records_are_read(tmp_path):
    guideline = Guideline(version=2, text="# G\n")
    made = convert(FIXTURES / "pandalm.json", tmp_path / "set", guideline=sets.NamedGuideline("g", guideline))
    assert {j.guideline_hash for j in sets.read_judgments(made.path)} == {guideline.guideline_hash}
    folder = tmp_path / "records"
    convert(made.path, tmp_path / "lines", ConvertConfig(pairs=("jsonl",))).path.joinpath("pairs").rename(folder)
    again = convert(folder, tmp_path / "again")
    assert again.manifest.metrics["set_hash"] == made.manifest.metrics["set_hash"]
    (folder / "comparisons.jsonl").write_text("")
    with pytest.raises(TruingError, match="judged comparisons are not there"):
        convert(folder, tmp_path / "other")
