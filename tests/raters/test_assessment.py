from pathlib import Path

import numpy as np
import pytest
from tests.raters.test_labels import comparison, vote

from truing.errors import TruingError
from truing.program.workforce import render_assessment, render_leaderboard
from truing.program.workforce_page import render_page
from truing.raters.assessment import assess
from truing.raters.files import read_judged
from truing.raters.labels import soft_labels
from truing.raters.leaderboard import leaderboard
from truing.records import Comparison, Judgment
from truing.store.files import write_records


def workforce(n: int = 700) -> tuple[list[Comparison], list[Judgment]]:
    """Sixteen raters judge most comparisons, right 4 times in 5; r0 gives up halfway, r1 copies r2, r3 always takes the left."""
    rng = np.random.default_rng(0)
    rows, judgments = [], []
    for index in range(n):
        name, strong_first = str(index), bool(rng.random() < 0.5)
        row = comparison(name, "a" * int(rng.integers(50, 200)), "b" * int(rng.integers(50, 200)))
        rows.append(row.model_copy(update={"policies": ("strong", "weak") if strong_first else ("weak", "strong")}))
        answers: dict[int, str] = {}
        for rater in range(16):
            left = "first" if rng.random() < 0.5 else "second"
            p_first = (0.8 if strong_first else 0.2) if rater or index < n / 2 else 0.5
            answers[rater] = "first" if rng.random() < p_first else "second"
            if rater == 3:
                answers[rater] = left
            if rater == 2 and rng.random() < 0.97:
                answers[rater] = answers[1]
            judgments.append(vote(name, answers[rater], f"r{rater}", left))
    return rows, judgments


ROWS, JUDGMENTS = workforce()
FOUND = assess(ROWS, JUDGMENTS, resamples=100)


def test_each_kind_of_bad_rater_is_found_and_no_other() -> None:
    seen = {(flag.rater_id, flag.kind) for flag in FOUND.flags}
    assert {("r0", "drift_reliability"), ("r1", "duplicate"), ("r2", "duplicate"), ("r3", "left")} <= seen
    assert {rater for rater, _ in seen} == {"r0", "r1", "r2", "r3"}
    [drift] = [flag for flag in FOUND.flags if flag.kind == "drift_reliability"]
    assert drift.at_judgment == pytest.approx(350, abs=40)


def test_advice_is_usable_by_labels() -> None:
    weights = FOUND.down_weights()
    assert weights["r0"][0] == pytest.approx(350, abs=40)
    assert weights["r0"][1] < 0.3
    pairs = soft_labels(ROWS, JUDGMENTS, down_weighted=weights)
    assert len(pairs) == len(ROWS)


def test_what_is_shown() -> None:
    text = render_assessment(FOUND, 5)
    assert "and 11 raters with fewer judgments" in text
    assert "nobody is rejected" in text
    assert "  r0  re-certify, down-weight from judgment " in text
    head = next(line for line in text.splitlines() if line.startswith("rater "))
    assert "chose left" in head
    assert "gold right" not in head  # there is no gold
    page = render_page(FOUND)
    assert "<script" not in page
    assert "://" not in page
    hostile = FOUND.model_copy(update={"raters": (FOUND.raters[0].model_copy(update={"rater_id": "<script>x</script>"}),)})
    assert "<script>" not in render_page(hostile)


def test_who_cannot_be_told_from_a_coin_flipper_is_named() -> None:
    # r3 takes the left whatever stands there: no reliability, and a pull that says why
    assert {row.rater_id: row.answers for row in FOUND.raters if row.answers != "by_quality"} == {"r3": "unclear"}
    line = "cannot be told from coin-flippers: r3 (700)"
    assert line in render_assessment(FOUND, 5).splitlines()
    assert line in render_page(FOUND)
    opposite = [row.model_copy(update={"answers": "against_quality"}) for row in FOUND.raters[:13]]
    text = render_assessment(FOUND.model_copy(update={"raters": tuple(opposite)}), 5)
    assert "answer against quality: r0 (700), " in text
    assert ", and 1 with fewer judgments" in text


def test_one_rater_alone_is_not_measured() -> None:
    alone = assess(ROWS[:30], [vote(str(n), "first", "a") for n in range(30)], resamples=10)
    text = render_assessment(alone, 5)
    assert "30 judgments of 30 comparisons by 1 rater\n" in text
    assert "what is expected of any rater, not measured" in text
    assert "cannot be told from coin-flippers: a (30)" in text


def test_the_stronger_policy_leads() -> None:
    found = leaderboard(ROWS, JUDGMENTS)
    assert [s.policy for s in found.standings] == ["strong", "weak"]
    assert found.standings[0].strength.low > found.standings[1].strength.high
    assert "1     strong" in render_leaderboard(found)
    with pytest.raises(TruingError, match="at least two named policies"):
        leaderboard([comparison("a")], [vote("a", "first", "r")])


def test_bad_rows_are_named_with_their_line(tmp_path: Path) -> None:
    write_records(tmp_path / "comparisons.jsonl", ROWS[:2])
    path = tmp_path / "judgments.jsonl"
    write_records(path, [vote("0", "first", "a"), vote("0", "tie", "a")])
    with pytest.raises(TruingError, match=r"judgments.jsonl:2: 'a' judged '0' in line 1 already"):
        read_judged(tmp_path)
    with pytest.raises(TruingError, match="lost: no such file or folder"):
        read_judged(tmp_path / "lost")
    write_records(path, [vote("0", "first", "a"), vote("nowhere", "tie", "a")])
    with pytest.raises(TruingError, match=r"judgments.jsonl:2: comparison 'nowhere'"):
        read_judged(path)
    late, early = (vote(str(n), "first", "a", judged_at=f"2026-01-0{2 - n}T00:00:00Z") for n in range(2))
    write_records(path, [late, early])
    assert [j.comparison_id for j in read_judged(path).judgments] == ["1", "0"]
    with pytest.raises(TruingError, match="no such file"):
        read_judged(path, tmp_path / "other.jsonl")
