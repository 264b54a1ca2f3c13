"""Every format's hand-made fixture, read into records worked out by hand."""

import json
from pathlib import Path

import pytest

from truing.collect.exchange.config import FieldNames
from truing.collect.exchange.formats import FORMATS, read_judged
from truing.errors import TruingError

OTHER = {"role": "user", "content": "Something else."}
FIXTURES = Path(__file__).parent / "fixtures"


def fixture(name):
    (path,) = FIXTURES.glob(f"{name}.json*")
    return path


def read(name, **options):
    return list(read_judged(fixture(name), **options))


def votes(found):
    """(rater, choice) of every judgment, pair by pair."""
    return [[(j.rater_id, j.choice) for j in pair.judgments] for pair in found]


def preferred(found):
    """(winner, loser) of each single-vote pair that is no tie."""
    rows = [(p.comparison.first, p.comparison.second, p.judgments[0].choice) for p in found]
    return [(a, b) if choice == "first" else (b, a) for a, b, choice in rows if choice != "tie"]


@pytest.mark.parametrize("name", [f.name for f in FORMATS])
def test_every_format_has_a_fixture_and_is_recognised(name):
    found = read(name)
    assert found == read(name, format_name=name)
    assert all(p.judgments for p in found)
    assert len({j.judgment_id for p in found for j in p.judgments}) == sum(len(p.judgments) for p in found)
    for pair in found:
        assert {j.comparison_id for j in pair.judgments} == {pair.comparison.comparison_id}
        assert pair.comparison.source.startswith(f"file:{fixture(name).name}:")


def test_no_fixture_is_left_over():
    assert {path.stem for path in FIXTURES.iterdir()} == {f.name for f in FORMATS}


def test_ukpconvarg1():
    (pair,) = read("ukpconvarg1")
    assert votes([pair]) == [[("w1", "first"), ("w2", "tie"), ("w3", "second")]]
    assert pair.comparison.prompt.text == "Run Night Trains: Yes"
    assert pair.comparison.prompt.meta == {"group": "Run Night Trains"}
    assert pair.judgments[0].judged_at == "2016-01-31T16:59:52+00:00"
    assert {j.left for j in pair.judgments} == {"first"}
    assert [j.confidence for j in pair.judgments] == [1.0, 0.5, 1.0]


def test_pandalm_keeps_empty_answers_and_the_models():
    found = read("pandalm")
    assert votes(found)[0] == [("annotator1", "first"), ("annotator2", "first"), ("annotator3", "tie")]
    assert found[0].comparison.second == ""
    assert found[0].comparison.policies == ("opt-7b", "llama-7b")
    assert found[0].comparison.prompt.text == "Shorten the note.\n\nBring bread and also please bring some milk."
    assert found[1].comparison.prompt.text == "Name a river."


def test_chatbot_arena():
    found = read("chatbot_arena")
    assert votes(found) == [[("arena_user_12", "second")], [("arena_user_13", "tie")], [("s-1", "tie")]]
    assert [p.judgments[0].both_bad for p in found] == [False, True, False]
    assert found[0].comparison.policies == ("alpha-7b", "beta-7b")
    assert found[0].judgments[0].judged_at == "2023-04-24T15:53:11+00:00"
    assert (found[2].comparison.first, found[2].comparison.second) == ("Hi.", "Hello.")


def test_helpsteer_ratings_become_all_pairs_with_margins():
    found = read("helpsteer")
    eggs, tea = found[:3], found[3:]
    assert [p.judgments[0].choice for p in eggs] == ["first", "first", "second"]
    assert [p.judgments[0].margin for p in eggs] == [3, 3, 1]
    assert len({p.comparison.group for p in eggs}) == 1
    assert [p.judgments[0].choice for p in tea] == ["tie"]
    assert tea[0].judgments[0].margin == 0
    assert all(j.left is None for p in found for j in p.judgments)


def test_helpsteer2_preferences_keep_every_annotator():
    every, aggregate = read("helpsteer2_preference")
    assert [(j.choice, j.margin, j.both_bad) for j in every.judgments] == [
        ("first", 3, False),
        ("first", 1, False),
        ("second", 1, False),
        ("tie", 0, True),
    ]
    assert len({j.rater_id for j in every.judgments}) == 4
    assert votes([aggregate]) == [[("helpsteer-consensus", "tie")]]


def test_helpsteer3_keeps_the_conversation():
    (pair,) = read("helpsteer3")
    assert [m.role for m in pair.comparison.prompt.messages] == ["user", "assistant", "user"]
    assert [(j.choice, j.margin) for j in pair.judgments] == [("first", 3), ("tie", 0), ("second", 2)]


def test_ultrafeedback_goes_by_the_mean_rating_and_is_simulated():
    found = read("ultrafeedback")
    assert preferred(found) == [("Iron.", "Wood."), ("Tin.", "Wood.")]
    assert len(found) == 3, "equal means are a tie, not left out"
    assert all(j.simulated for p in found for j in p.judgments)
    assert found[0].comparison.policies == ("m1", "m2")


def test_oasst_trees_give_all_pairs_at_every_depth():
    found = read("oasst")
    first_turn = [p for p in found if len(p.comparison.prompt.messages) == 1]
    assert preferred(first_turn) == [
        ("Water that condenses at night.", "Rain."),
        ("Water that condenses at night.", "Wet grass."),
        ("Wet grass.", "Rain."),
    ]
    (later,) = [p for p in found if len(p.comparison.prompt.messages) == 3]
    assert preferred([later]) == [("Ice crystals from vapour.", "Frozen dew.")]
    assert "some-sft" in first_turn[1].comparison.policies
    assert len({p.comparison.group for p in found}) == 2


def test_oasst_messages_are_the_same_tree():
    assert preferred(read("oasst_messages")) == [("The time after sunset.", "Morning.")]


def test_argilla_in_all_four_shapes():
    found = read("argilla")
    ranked, label, version_1, flat = found[:3], found[3], found[4], found[5]
    assert votes(ranked) == [
        [("argilla-0a1b", "first"), ("argilla-0c2d", "first")],
        [("argilla-0a1b", "second"), ("argilla-0c2d", "tie")],
        [("argilla-0a1b", "second"), ("argilla-0c2d", "second")],
    ]
    assert votes([label]) == [[("argilla-0a1b", "first"), ("argilla-0e3f", "tie")]], "a draft is no answer"
    assert votes([version_1]) == [[("argilla-0a1b", "first"), ("unidentified-2", "second")]]
    assert votes([flat]) == [[("argilla-0a1b", "first")]]


def test_label_studio_keeps_no_address_and_reads_ground_truth_as_gold():
    (pair,) = read("label_studio")
    assert votes([pair]) == [[("label-studio-10", "first"), ("label-studio-11", "second")]]
    assert pair.comparison.gold == "first"
    assert "annotator@" not in pair.comparison.to_json() + "".join(j.to_json() for j in pair.judgments)


def test_label_studio_fields_can_be_named(tmp_path):
    task = json.loads(fixture("label_studio").read_text())
    task[0]["data"] = {"q": "Name a wind.", "x": "Granite.", "y": "Mistral.", "note": "n"}
    path = tmp_path / "export.json"
    path.write_text(json.dumps(task))
    with pytest.raises(TruingError, match="--field prompt=NAME"):
        list(read_judged(path))
    (pair,) = read_judged(path, names=FieldNames(prompt="q", first="x", second="y"))
    assert (pair.comparison.prompt.text, pair.comparison.first) == ("Name a wind.", "Granite.")


@pytest.mark.parametrize("name", ["hh_rlhf", "trl"])
def test_stored_order_does_not_give_the_preference_away(name, tmp_path):
    found = read(name)
    rows = [json.loads(line) for line in fixture(name).read_text().splitlines()]
    turned = [{**row, "chosen": row["rejected"], "rejected": row["chosen"]} for row in rows]
    path = tmp_path / "turned.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in turned))
    opposite = {"first": "second", "second": "first", "tie": "tie"}
    for pair, other in zip(found, read_judged(path), strict=True):
        assert (pair.comparison.first, pair.comparison.second) == (other.comparison.first, other.comparison.second)
        assert other.judgments[0].choice == opposite[pair.judgments[0].choice]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("pandalm", {"annotator2": 3}, r"pandalm\.jsonl:1: field 'annotator2': 0 \(tie\), 1 or 2"),
        ("pandalm", {"response2": "Bring bread and milk."}, "same text: nothing can be preferred; remove the row"),
        ("ukpconvarg1", {"votes": [{"choice": "a3"}]}, r"ukpconvarg1\.jsonl:1: field 'votes'"),
        ("chatbot_arena", {"winner": "model_c"}, "model_a, model_b, tie"),
        (
            "chatbot_arena",
            {"conversation_a": [{"role": "user", "content": "Other"}, {"role": "assistant", "content": "x"}]},
            "vote",
        ),
        ("helpsteer", {"helpfulness": 5}, "a rating from 0 to 4"),
        ("helpsteer3", {"individual_preference": [{"score": 4}]}, "from -3 to 3"),
        (
            "ultrafeedback",
            {"completions": [{"response": "x", "annotations": {"a": {"Rating": "N/A"}}}]},
            "a Rating for each",
        ),
        ("oasst", {"prompt": {"message_id": "m", "text": "", "role": "prompter"}}, "message m"),
        ("oasst_messages", {"parent_id": "gone"}, "message gone is not in the file"),
        ("trl", {"label": 0.8}, "a soft label is no rater's vote"),
    ],
)
def test_a_bad_row_is_named_with_its_place_and_what_to_do(name, change, message, tmp_path):
    path = fixture(name)
    rows = json.loads(path.read_text()) if path.suffix == ".json" else [json.loads(x) for x in path.read_text().splitlines()]
    rows[0] |= change
    bad = tmp_path / f"{name}.jsonl"
    bad.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(TruingError, match=message) as raised:
        list(read_judged(bad, name))
    assert "--bad-rows drop" in str(raised.value)
    skipped = []
    if len(rows) > 1 and name not in {"helpsteer", "oasst_messages"}:
        assert len(list(read_judged(bad, name, skipped=skipped))) == len(read(name)) - len(read(name)[:1])
        assert len(skipped) == 1


def test_a_file_of_no_known_format_lists_what_is_known(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "x", "label": 1}\n')
    with pytest.raises(TruingError, match="columns: text, label") as raised:
        list(read_judged(path))
    assert all(f.name in str(raised.value) for f in FORMATS)
    with pytest.raises(TruingError, match="did you mean 'pandalm'"):
        list(read_judged(path, "pandaml"))
