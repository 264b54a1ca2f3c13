"""The diff of two guideline versions, by clause."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from truing.collect.guidelines.diff import changed, compare
from truing.collect.rendering.diff import word_diff
from truing.records import Guideline

OPENING = "# Rating\n\nRead both.\n\n"
RIGHT = "## Right first {#right}\n\nWrong loses.\n\n"
SHORT = "## Short {#short}\n\nShort wins.\n\n"
POLITE = "## Polite {#polite}\n\nBe kind.\n\n"
BEFORE = Guideline(version=1, text=OPENING + RIGHT + SHORT)
AFTER = Guideline(version=2, text=OPENING + POLITE + RIGHT.replace("loses", "always loses"))


def test_each_clause_is_added_removed_changed_or_the_same():
    assert [(c.clause_id, c.kind) for c in compare(BEFORE, AFTER)] == [
        ("", "same"),
        ("polite", "added"),
        ("right", "changed"),
        ("short", "removed"),
    ]
    assert [c.title for c in compare(BEFORE, AFTER)] == ["Opening", "Polite", "Right first", "Short"]


def test_only_what_changed_has_to_be_read_again():
    assert [c.clause_id for c in changed(BEFORE, AFTER)] == ["polite", "right", "short"]
    assert changed(BEFORE, BEFORE) == ()


def test_a_clause_that_only_moved_is_the_same():
    moved = Guideline(version=2, text=OPENING + SHORT + RIGHT)
    assert changed(BEFORE, moved) == ()


def test_pieces_name_the_words():
    (change,) = [c for c in compare(BEFORE, AFTER) if c.clause_id == "right"]
    assert [(p.kind, p.text) for p in change.pieces] == [
        ("same", "Right first\n\nWrong "),
        ("added", "always "),
        ("same", "loses."),
    ]


@given(st.text(max_size=60), st.text(max_size=60))
def test_the_pieces_make_both_texts_again(before, after):
    pieces = list(word_diff(before, after))
    assert "".join(p.text for p in pieces if p.kind != "added") == before
    assert "".join(p.text for p in pieces if p.kind != "removed") == after
