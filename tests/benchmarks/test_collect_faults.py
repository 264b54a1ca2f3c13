"""The faults at a small size: what the benchmark counts as lost is looked for, and what raters are told."""

import argparse

import pytest

from benchmarks.collect_faults import _lost, stale_tab
from benchmarks.service.migration import migration


@pytest.mark.slow
def test_answers_from_pages_that_time_has_passed_by(tmp_path):
    found = stale_tab(tmp_path, argparse.Namespace())
    assert not _lost(found)
    assert found["judgments_by_guideline_version"] == {1: 3, 2: 1}
    said = found["answers"]
    assert '"is_surplus": true' in said["lease ran out, another rater holds the item"]
    assert "in another tab" in said["answered in another tab before"]
    assert said["signed in again in another tab"].startswith("403 this page is out of date")


@pytest.mark.slow
def test_a_migration_is_killed_and_loses_nothing(tmp_path):
    found = migration(tmp_path, argparse.Namespace(judgments=400, postgresql=False))["sqlite"]
    assert not _lost(found)
    assert (found["judgments"], found["kills"]) == (400, 3)


def test_what_counts_as_lost():
    assert not _lost({"a": {"lost": 0, "refused": ["507"]}, "machine": {"cores": 2}})
    assert _lost({"a": {"b": {"unflagged_surplus": 1}}})
    assert _lost({"content_changed": True})
