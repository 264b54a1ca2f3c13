"""Nothing in a text can hide, reorder, imitate or become markup."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truing.collect.rendering.markdown import render
from truing.collect.rendering.visible import MOST_SPACES, visible


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
    ("text", "shown"),
    [
        ("a" + "\u00a0" * 40 + "b", "U+00A0 ×40<"),
        ("a" + "\u00a0 " * 5 + "b", 'title="NO-BREAK SPACE, SPACE">U+00A0 ×10<'),
        (
            "a\u00a0\u2003\u202f\u3000\u2009b",
            'title="NO-BREAK SPACE, EM SPACE, NARROW NO-BREAK SPACE, IDEOGRAPHIC SPACE, THIN SPACE"',
        ),
        ("\u3000" * 5, "U+3000 ×5<"),
    ],
)
def test_a_long_run_of_spaces_that_do_not_collapse_is_counted(text, shown):
    assert shown in visible(text)
    assert visible("a\u00a0b" * 9) == "a\u00a0b" * 9


def test_in_code_each_space_that_is_no_space_is_shown():
    assert "U+00A0<" in visible("x\u00a0= 1", most_spaces=0)
    assert "U+00A0<" in render("`x\u00a0= 1`")
    assert "U+3000 ×2<" in render("```\nif x:\n\u3000\u3000y()\n```")
    assert visible("x = 1    # four", most_spaces=0) == "x = 1    # four"


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
        "«\u00a0Vraiment\u202f?\u00a0» dit-il\u00a0: «\u00a0oui\u202f!\u00a0»",
        "\u3000\u3000第一段",
        "\u00a0 \u00a0 \u00a0 \u00a0indented, as editors of web pages write it",
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
    spaces = max((len(run.replace(" ", "")) for run in re.findall(r"[^\S\n\t]+", shown)), default=0)
    assert spaces <= MOST_SPACES
    assert shown.count("<") == shown.count("<span") + shown.count("</span>")
