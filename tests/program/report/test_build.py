"""The report as a whole: what it says, what it survives, and its shape as published."""

from __future__ import annotations

import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from truing.errors import TruingError
from truing.program.report.build import build
from truing.program.report.model import Report
from truing.records import Alarm
from truing.store.artifacts import Store

ROOT = Path(__file__).parents[3]
SCHEMA = ROOT / "docs" / "report.schema.json"


def report_of(root: Path) -> Report:
    build(root)
    return Report.model_validate_json((root / "report.json").read_text())


def test_report_json_has_the_published_shape(run_root):
    build(run_root)
    report = json.loads((run_root / "report.json").read_text())
    first, second = report["rounds"]
    assert set(first["policy"]["gold"]) == {"value", "low", "high", "n"}
    assert first["policy"]["proxy"]["value"] > second["policy"]["proxy"]["value"]
    assert first["sft"]["gold"]["value"] == 0.41
    assert second["sft"]["gold"]["value"] == 0.41
    assert first["gate"]["decision"] == "hold"
    assert second["gate"]["decision"] == "release"
    assert [a["update"] for a in first["alarms"]] == sorted(a["update"] for a in first["alarms"])
    assert {f["mode"] for f in first["findings"]} == {"verbosity", "filler"}
    assert report["simulated_raters"] is True


def test_the_schema_in_docs_is_the_model_s_own():
    assert json.loads(SCHEMA.read_text()) == Report.model_json_schema(), "run `make docs`"


def test_the_gold_peak_is_read_off_the_smoothed_curve(run_root):
    trajectory = report_of(run_root).rounds[0].trajectories["ppo"]
    assert trajectory.smoothing_updates == 7
    assert trajectory.gold_peak_update is not None
    assert trajectory.gold_peak_update < 30


def test_every_policy_that_rl_trained_has_its_own_timeline(run_root, publish):
    """PPO and GRPO in one round: the same signal at the same update is an alarm of each, and marks each one's own curve."""
    log = (run_root / "round-1" / "ppo" / "metrics.jsonl").read_text()
    alarm = {"value": 0.4, "threshold": 0.15, "message": "seen in GRPO", "action": "log"}
    raised = [Alarm(update=u, signal=s, **alarm) for u, s in ((9, "reward_length"), (30, "phrase_rise"))]
    publish(Store(run_root), "grpo", "round-1/grpo", {"model": "a" * 64}, {"metrics.jsonl": log, "alarms.jsonl": raised})
    publish(Store(run_root), "rloo", "round-2/rloo", {"model": "a" * 64}, {"metrics.jsonl": log, "alarms.jsonl": []})
    first = report_of(run_root).rounds[0]
    before = [a for a in first.alarms if a.policy is None]
    assert [(a.update, a.signal) for a in first.alarms_of("grpo") if a.policy] == [(9, "reward_length"), (30, "phrase_rise")]
    assert len(first.alarms_of("ppo")) == len(before) + 5
    page = (run_root / "report.html").read_text()
    assert "Alarms in round 1, PPO" in page
    assert "Alarms in round 1, GRPO" in page
    assert f"raised {len(before) + 2} alarms on GRPO" in page


def test_without_a_gold_rule_nothing_is_said_of_gold(run_root_without_gold):
    report = report_of(run_root_without_gold)
    assert report.rounds[0].policy.gold is None
    assert report.rounds[0].trajectories["ppo"].gold_peak_update is None
    page = (run_root_without_gold / "report.html").read_text()
    assert "Gold reward" not in page
    assert "Raters simulated" not in page


def test_stages_left_out_leave_their_part_empty(tmp_path, publish):
    publish(Store(tmp_path), "reward", "round-1/reward", {"model": "c" * 64}, {"metrics.jsonl": ""})
    report = report_of(tmp_path)
    assert report.rounds[0].policy is None
    assert report.simulated_raters is None
    assert "PPO" in report.missing
    assert "reward model" not in report.missing
    assert "kept no record of who judged" in (tmp_path / "report.html").read_text()


def test_a_folder_without_a_run_says_so(tmp_path):
    with pytest.raises(TruingError, match="no finished stage"):
        build(tmp_path)
    with pytest.raises(TruingError, match="no such folder"):
        build(tmp_path / "absent")


def test_a_damaged_file_is_named(run_root):
    (run_root / "round-1" / "gate" / "gate.json").write_text('{"decision": "release"}')
    with pytest.raises(TruingError, match=r"gate\.json: field 'candidate'"):
        build(run_root)


def test_the_report_is_the_same_twice(run_root):
    first = build(run_root).read_bytes()
    assert build(run_root).read_bytes() == first


class Tags(HTMLParser):
    """Every tag with its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))


def test_the_page_needs_nothing_else_and_runs_nothing(run_root):
    parser = Tags()
    parser.feed(build(run_root).read_text())
    assert not {"script", "iframe", "object", "embed", "form", "base"} & {tag for tag, _ in parser.seen}
    for tag, attributes in parser.seen:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], (tag, attributes)
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:,")), (tag, attributes)
    policy = next(a["content"] for t, a in parser.seen if t == "meta" and a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe-inline" not in policy


def test_hostile_output_is_escaped_and_shown(run_root):
    page = build(run_root).read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)" in page
    for character, shown in (("\u202e", "U+202E"), ("\x1b", "U+001B"), ("\u200b", "U+200B")):
        assert character not in page
        assert shown in page


def test_every_plot_has_a_title_and_ids_are_unique(run_root):
    parser = Tags()
    parser.feed(build(run_root).read_text())
    ids = [a["id"] for _, a in parser.seen if a.get("id")]
    assert len(ids) == len(set(ids))
    for tag, attributes in parser.seen:
        if tag == "svg" and attributes.get("role") == "img":
            assert set((attributes["aria-labelledby"] or "").split()) <= set(ids)


def test_building_a_report_loads_no_torch(run_root):
    code = (
        "import sys; from pathlib import Path; from truing.program.report.build import build; "
        "build(Path(sys.argv[1])); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(run_root)], check=False).returncode == 0
