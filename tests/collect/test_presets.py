"""Each preset asks what its paper asked."""

import re

import pytest

from truing.collect import campaigns
from truing.errors import TruingError


def preset(name):
    return campaigns.resolved({"name": "x", "preset": name}, "test")


def test_there_is_a_test_for_each():
    assert campaigns.preset_names() == ["helpsteer3", "hh", "instructgpt", "llama2", "oasst", "tldr"]


def test_each_begins_with_its_title_and_says_where_it_comes_from():
    shown = campaigns.presets()
    assert [preset.title for preset in shown] == ["HelpSteer3", "HH", "InstructGPT", "Llama 2", "OASST", "TL;DR"]
    assert all(re.match(r"\w+ et al\. 20\d\d", preset.note) for preset in shown)


def test_instructgpt_ranks_and_scores_from_one_to_seven():
    ranking, scales = preset("instructgpt").tasks
    assert (ranking.type, ranking.ties) == ("ranking", True)
    assert [(a.name, a.low, a.high) for a in scales.attributes] == [("overall", 1, 7)]


def test_tldr_has_nine_points():
    (pair,) = preset("tldr").tasks
    assert (2 * pair.steps_each_side + pair.tie, pair.both_bad) == (9, False)


def test_hh_has_eight_points_and_no_middle():
    (pair,) = preset("hh").tasks
    assert (2 * pair.steps_each_side, pair.tie) == (8, False)


def test_llama2_has_four_degrees_and_safety_bins():
    config = preset("llama2")
    (pair,) = config.tasks
    assert pair.steps_each_side + pair.tie == 4
    assert config.flags == ("only_the_better_is_safe", "both_safe", "both_unsafe")


def test_helpsteer3_scores_five_attributes_then_prefers_with_a_reason():
    config = preset("helpsteer3")
    scales, pair, critique = config.tasks
    assert [a.name for a in scales.attributes] == ["helpfulness", "correctness", "coherence", "complexity", "verbosity"]
    assert {(a.low, a.high) for a in scales.attributes} == {(0, 4)}
    assert (pair.steps_each_side, pair.tie, critique.is_required, config.overlap) == (3, True, True, 3)


def test_oasst_ranks_and_reviews():
    config = preset("oasst")
    ranking, scales = config.tasks
    assert (ranking.ties, config.overlap, len(scales.attributes)) == (False, 3, 6)
    assert "spam" in config.flags


def test_what_a_person_writes_overrides_the_preset():
    assert campaigns.resolved({"name": "x", "preset": "hh", "overlap": 5}, "test").overlap == 5


def test_a_preset_that_is_none():
    with pytest.raises(TruingError, match="Presets: helpsteer3, hh"):
        preset("../../etc/passwd")
