import gzip
import json

import pytest

from truing.data.formats import read_demonstrations, read_pairs, read_prompts
from truing.errors import TruingError
from truing.records import Message, PreferencePair, Prompt

Q = {"role": "user", "content": "is it red?"}
YES = {"role": "assistant", "content": "yes."}
NO = {"role": "assistant", "content": "no."}
HH = "\n\nHuman: is it red?\n\nAssistant: let me see.\n\nHuman: well?\n\nAssistant: "


@pytest.fixture
def write(tmp_path):
    def write(rows, name="rows.jsonl"):
        path = tmp_path / name
        text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return path

    return write


STANDARD = {"prompt": "is it red?", "chosen": "yes.", "rejected": "no."}


@pytest.mark.parametrize(
    "row",
    [
        STANDARD,
        {"prompt": [Q], "chosen": [YES], "rejected": [NO]},
        {"prompt": [Q], "chosen": [Q, YES], "rejected": [Q, NO]},
        {"prompt": [Q], "chosen": "yes.", "rejected": "no."},
        {"chosen": [Q, YES], "rejected": [Q, NO]},
        {"chosen": "\n\nHuman: is it red?\n\nAssistant: yes.", "rejected": "\n\nHuman: is it red?\n\nAssistant: no."},
    ],
)
def test_every_shape_of_a_pair_reads_the_same(write, row):
    (pair,) = read_pairs(write([row]))
    assert [(m.role, m.content) for m in pair.prompt.messages] == [("user", "is it red?")]
    assert (pair.chosen, pair.rejected, pair.label, pair.weight) == ("yes.", "no.", 1.0, 1.0)


def test_a_transcript_keeps_its_turns(write):
    (pair,) = read_pairs(write([{"chosen": HH + "yes.", "rejected": HH + "no."}], "rows.jsonl.gz"))
    assert [m.role for m in pair.prompt.messages] == ["user", "assistant", "user"]
    assert pair.prompt.messages[1].content == "let me see."
    assert (pair.chosen, pair.rejected) == ("yes.", "no.")


def test_soft_labels_weights_groups_and_unknown_columns(write):
    (pair,) = read_pairs(write([{**STANDARD, "label": 0.8, "weight": 2, "group": "g", "id": 5, "source": "web", "score": [1]}]))
    assert (pair.label, pair.weight, pair.comparison_id) == (0.8, 2.0, "5")
    assert pair.prompt.meta == {"group": "g"}


def test_pairs_of_one_ranking_are_told_by_its_name(write):
    pairs = read_pairs(write([{**STANDARD, "ranking": 7}, {**STANDARD, "rejected": "never.", "ranking": 7}, STANDARD]))
    assert [pair.ranking for pair in pairs] == ["7", "7", ""]


def test_votes_become_a_soft_label_and_the_debate_the_group(write):
    row = {"id": "x", "prompt": "Ban It", "stance": "Yes", "a1": "because.", "a2": "since.", "topic": "t"}
    votes = [{"choice": c, "rater": "r"} for c in ("a2", "a2", "equal", "a1")]
    (pair,) = read_pairs(write([{**row, "votes": votes}]))
    assert (pair.chosen, pair.rejected) == ("since.", "because.")
    assert (pair.label, pair.judgments) == (0.625, 4)
    assert pair.prompt.meta == {"group": "Ban It"}


@pytest.mark.parametrize("name", ["rows.json", "rows.json.gz"])
def test_a_json_list(write, name):
    assert len(read_pairs(write(json.dumps([STANDARD, STANDARD]).split("\n"), name))) == 2


def test_parquet(tmp_path):
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{"prompt": [Q], "chosen": [YES], "rejected": [NO]}]), path)
    assert read_pairs(path)[0].chosen == "yes."
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 not at all")
    with pytest.raises(TruingError, match=r"bad\.parquet"):
        read_pairs(tmp_path / "bad.parquet")


def test_own_records_come_back(write):
    prompt = Prompt.from_text("is it red?", kind="k", meta={"a": 1})
    pair = PreferencePair(comparison_id="c", prompt=prompt, chosen="yes.", rejected="no.", label=0.7, judgments=3, simulated=True)
    assert read_pairs(write([pair.to_json()])) == [pair]
    assert read_prompts(write([prompt.to_json()])) == [prompt]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{not json", r"rows\.jsonl:2: not valid JSON"),
        ("[1]", r"rows\.jsonl:2: a row is a JSON object"),
        ({"prompt": "a", "chosen": "b"}, r"rows\.jsonl:2: field 'rejected': missing"),
        ({"prompt": "a", "chosen": "", "rejected": "c"}, r"field 'chosen': missing"),
        ({"prompt": "a", "chosen": "b", "rejected": "b"}, r"field 'rejected': is the same as chosen"),
        ({"prompt": "a", "chosen": 3, "rejected": "b"}, r"field 'chosen': text is expected, not int"),
        ({"prompt": "", "chosen": "a", "rejected": "b"}, r"field 'prompt': is empty"),
        ({"chosen": "a", "rejected": "b"}, r"field 'prompt': missing, and 'chosen' is no conversation"),
        ({"prompt": [YES], "chosen": "a", "rejected": "b"}, r"field 'prompt': must end with a user's turn"),
        ({"prompt": [{"role": "bot", "content": "x"}], "chosen": "a", "rejected": "b"}, r"field 'prompt\[0\]\.role'"),
        ({"prompt": [{"role": "user"}], "chosen": "a", "rejected": "b"}, r"field 'prompt\[0\]\.content'"),
        ({"chosen": [Q, YES], "rejected": [{**Q, "content": "else?"}, NO]}, r"differ before their last turn"),
        ({"chosen": [Q, YES, Q], "rejected": [Q, NO, Q]}, r"field 'chosen': must end with an assistant's turn"),
        ({**STANDARD, "label": 1.5}, r"field 'label': .*less than or equal to 1"),
        ({**STANDARD, "weight": 0}, r"field 'weight'"),
        ({"chosen": HH + "a", "rejected": HH}, r"field 'rejected': a turn of Assistant is empty"),
        ({"prompt": "d", "stance": "s", "a1": "x", "a2": "y", "votes": [{"choice": "both"}]}, r"field 'votes'"),
    ],
)
def test_a_wrong_row_is_named_by_file_line_and_field(write, row, message):
    with pytest.raises(TruingError, match=message):
        read_pairs(write([STANDARD, row]))


def test_unusable_rows_can_be_skipped_and_are_told(write):
    skipped = []
    assert len(read_pairs(write([STANDARD, {**STANDARD, "chosen": "no."}]), skipped=skipped)) == 1
    assert len(skipped) == 1
    assert ":2: field 'rejected'" in skipped[0]
    with pytest.raises(TruingError, match="none of 1 rows can be used"):
        read_pairs(write([{"prompt": "a"}]), skipped=[])


def test_empty_missing_and_unknown_files(write, tmp_path):
    with pytest.raises(TruingError, match="holds no rows"):
        read_pairs(write([]))
    with pytest.raises(TruingError, match="no such file"):
        read_pairs(tmp_path / "none.jsonl")
    with pytest.raises(TruingError, match="unknown kind of file"):
        read_pairs(write([], "rows.csv"))
    with pytest.raises(TruingError, match="JSON list"):
        read_pairs(write(["{}"], "rows.json"))
    (tmp_path / "bad.jsonl.gz").write_bytes(b"not gzip")
    with pytest.raises(TruingError, match=r"bad\.jsonl\.gz"):
        read_pairs(tmp_path / "bad.jsonl.gz")


def test_demonstrations(write):
    rows = [{"messages": [Q, YES]}, {"prompt": "is it red?", "completion": "yes."}, {"prompt": [Q], "completion": [YES]}]
    first, second, third = read_demonstrations(write(rows))
    assert first == second == third
    with pytest.raises(TruingError, match="nothing to imitate"):
        read_demonstrations(write([{"messages": [Q]}]))
    with pytest.raises(TruingError, match="field 'messages': missing"):
        read_demonstrations(write([{"text": "a"}]))


def test_prompts(write):
    first, second = read_prompts(write([{"prompt": "is it red?", "kind": "k"}, {"messages": [Q]}]))
    assert first.messages == second.messages == (Message(role="user", content="is it red?"),)
    assert (first.kind, second.kind) == ("k", "plain")
    with pytest.raises(TruingError, match="must end with a user's turn"):
        read_prompts(write([{"messages": [Q, YES]}]))
