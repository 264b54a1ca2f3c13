"""Nothing in a model's output can hide, reorder or become markup."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from truing.program.report.text import visible


def test_what_hides_is_shown_by_code_point():
    assert "U+202E" in visible("a\u202eb")
    assert "U+00A0" in visible("a\u00a0b")
    assert "U+FE0F" in visible("a\ufe0f")
    assert visible("plain text\nsecond line é 漢") == "plain text\nsecond line é 漢"


@given(st.text())
def test_no_hidden_character_and_no_markup_survives(text):
    shown = visible(text)
    assert all(c == "\n" or unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} for c in shown)
    assert shown.count("<") == shown.count("<span") + shown.count("</span>")
