"""A rater's own keys: checked, kept, and never two things on one."""

from __future__ import annotations

import pytest

from truing.collect.errors import ServiceError
from truing.collect.screen.keys import DEFAULTS, SETTING, from_form, key_label, settings_of


def test_who_never_chose_has_the_usual_keys():
    assert settings_of({}).key_of == DEFAULTS


def test_a_choice_is_kept_as_what_differs():
    chosen = from_form({**DEFAULTS, "skip": "X", "are_keys_on": "on"})
    assert (chosen.keys, chosen.are_keys_on, chosen.scroll_together) == ({"skip": "x"}, True, False)
    assert settings_of({SETTING: chosen.model_dump(mode="json")}) == chosen


def test_an_empty_field_means_the_usual_key():
    assert from_form({**DEFAULTS, "skip": " "}).keys == {}


@pytest.mark.parametrize(
    ("change", "says"),
    [({"skip": "d"}, "one key cannot do two things"), ({"skip": "4"}, "digits"), ({"skip": "ab"}, "one letter")],
)
def test_what_cannot_be_a_key_is_refused(change, says):
    with pytest.raises(ServiceError, match=says):
        from_form({**DEFAULTS, **change})


def test_two_keys_may_change_places():
    assert from_form({**DEFAULTS, "skip": "d", "diff": "s"}).keys == {"skip": "d", "diff": "s"}


def test_labels_are_as_on_the_keyboard():
    assert (key_label("f"), key_label("Enter"), key_label("?")) == ("F", "Enter", "?")
