"""Nothing in a text can hide, reorder, imitate or become markup."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truing.collect.rendering.visible import visible


@pytest.mark.parametrize(
    ("text", "point"),
    [
        ("a\u202eb", "U+202E"),
        ("a\u2066b", "U+2066"),
        ("a\u200bb", "U+200B"),
        ("a\u00adb", "U+00AD"),
        ("\ufeffb", "U+FEFF"),
        ("a\ufe0f", "U+FE0F"),
        ("a\u200db", "U+200D"),
        ("a\U000e0041b", "U+E0041"),
        ("a\u2028b", "U+2028"),
        ("a\x1b[2J", "U+001B"),
        ("a\ue000b", "U+E000"),
        ("a\ud800b", "U+D800"),
        ("a\u3164b", "U+3164"),
        ("a\u2800b", "U+2800"),
        ("a\u034fb", "U+034F"),
        ("\U000e0100", "U+E0100"),
    ],
)
def test_what_hides_is_shown_by_code_point(text, point):
    assert point in visible(text)
    assert text[text.index("b") :] in visible(text) if "b" in text else True


def test_a_run_of_one_hidden_character_is_counted():
    assert "U+200B ×500<" in visible("a" + "\u200b" * 500)


@pytest.mark.parametrize(
    "text",
    [
        "plain text\nsecond line é 漢\tend",
        "❤️ ☺️ 1️⃣ ↔️",
        "👨‍👩‍👧 👩🏽‍🚀 🏳️‍🌈",
        "می‌خواهم",
        "क्‍ष",
        "Tiếng Việt, e\u0301, שָׁלוֹם",
        "10\u00a0000\u202f€",
        "Москва and Αθήνα",
        "Δx and 5μm",
    ],
)
def test_what_a_language_needs_stays_as_it_is(text):
    assert visible(text) == text


def test_letters_that_pass_for_latin_ones_are_marked():
    assert visible("p\u0430ypal") == 'p<span class="lookalike" title="CYRILLIC SMALL LETTER A">\u0430</span>ypal'
    assert "GREEK SMALL LETTER OMICRON" in visible("g\u03bfogle")


def test_combining_marks_do_not_pile_up():
    assert "U+0301" in visible("a" + "\u0301" * 9)


@given(st.text())
def test_no_hidden_character_and_no_markup_survives(text):
    shown = visible(text)
    kept = {"\n", "\t", "\u200c", "\u200d"}
    assert all(c in kept or unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} for c in shown)
    assert shown.count("<") == shown.count("<span") + shown.count("</span>")
