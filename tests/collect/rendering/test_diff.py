"""Both texts can be read off a diff, it is a longest common one before tidying, and it does not slow down."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from truing.collect.rendering.diff import MOST_WORDS, Piece, _aligned, change, side, word_diff

TEXTS = st.text(alphabet="ab \n.", max_size=40)


def test_one_word_changed():
    assert word_diff("the quick fox runs", "the slow fox runs") == (
        Piece("same", "the "),
        Piece("removed", "quick"),
        Piece("added", "slow"),
        Piece("same", " fox runs"),
    )


def test_nothing_changed_and_nothing_there():
    assert word_diff("same words", "same words") == (Piece("same", "same words"),)
    assert word_diff("", "") == ()
    assert word_diff("", "new") == (Piece("added", "new"),)


def test_a_speck_in_common_joins_the_changes_around_it():
    assert word_diff("alpha bravo", "delta hotel") == (Piece("removed", "alpha bravo"), Piece("added", "delta hotel"))


@given(TEXTS, TEXTS)
def test_both_texts_can_be_read_off(before, after):
    pieces = word_diff(before, after)
    assert "".join(p.text for p in pieces if p.kind != "added") == before
    assert "".join(p.text for p in pieces if p.kind != "removed") == after


@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.sampled_from("abc"), max_size=12))
def test_what_is_in_common_is_as_long_as_can_be(before, after):
    table = [[0] * (len(after) + 1) for _ in range(len(before) + 1)]
    for i, x in enumerate(before):
        for j, y in enumerate(after):
            table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
    assert sum(p.kind == "same" for p in _aligned(before, after)) == table[-1][-1]


def test_long_texts_are_compared_by_line_and_longer_ones_as_a_whole():
    lines = ["some words here\n"] * MOST_WORDS
    pieces = word_diff("".join(lines), "".join([*lines[:-1], "other words here\n"]))
    assert [(p.kind, p.text.count("\n")) for p in pieces] == [("same", MOST_WORDS - 1), ("removed", 1), ("added", 1)]
    assert [p.kind for p in word_diff("a\n" * (MOST_WORDS + 1), "b")] == ["removed", "added"]


def test_two_long_answers_take_little_time():
    start = time.perf_counter()
    word_diff("a b " * (MOST_WORDS // 4), "b c a " * (MOST_WORDS // 6))
    assert time.perf_counter() - start < 5


def test_a_change_is_struck_and_underlined_and_said():
    assert change(word_diff("be <b>", "be <i>")) == (
        'be &lt;<del><span class="visually-hidden">removed: </span>b</del>'
        '<ins><span class="visually-hidden">added: </span>i</ins>&gt;'
    )


def test_two_answers_are_marked_alike():
    pieces = word_diff("the left answer", "the right answer")
    assert side(pieces, "removed") == 'the <mark><span class="visually-hidden">only here: </span>left</mark> answer'
    assert side(pieces, "added") == 'the <mark><span class="visually-hidden">only here: </span>right</mark> answer'
