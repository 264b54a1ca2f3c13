import numpy as np
import pytest
from tests.raters.test_labels import comparison, vote

from truing.raters.checks import UsualTime, by_rater, check_rater, fast_answers, repeated_alike, sides
from truing.raters.config import ChecksConfig
from truing.records import Judgment
from truing.stats.sequential import fair_coin

CONFIG = ChecksConfig()
SEEDS = 1000


def checked(judgments: list[Judgment], gold: str | None = None):
    rows = {j.comparison_id: comparison(j.comparison_id, "a" * 200, "b" * 200, gold=gold) for j in judgments}
    usual = UsualTime(by_rater(judgments), rows)
    return check_rater(judgments, rows, usual, CONFIG)


def lefts(chose_left: list[bool]) -> list[Judgment]:
    """Sides were drawn: the first of the two stood at left in every third."""
    shown = [("second", "first") if n % 3 else ("first", "second") for n in range(len(chose_left))]
    return [vote(str(n), shown[n][0 if left else 1], "r", shown[n][0]) for n, left in enumerate(chose_left)]


def test_a_rater_who_takes_the_left_in_65_of_100_is_flagged_within_300_and_honest_ones_are_not() -> None:
    rng = np.random.default_rng(0)
    settings = {"bet": CONFIG.left_bet, "alpha": CONFIG.left_alpha}
    biased = [fair_coin(rng.random(300) < 0.65, **settings).crossed_at is not None for _ in range(SEEDS)]
    assert np.mean(biased) >= 0.95
    honest = rng.random((SEEDS, 1000)) < 0.5
    left = [fair_coin(row, **settings).crossed_at is not None for row in honest]
    pattern = [
        fair_coin(row[1:] == row[:-1], bet=CONFIG.pattern_bet, alpha=CONFIG.pattern_alpha).crossed_at is not None
        for row in honest
    ]
    assert np.mean(np.logical_or(left, pattern)) < 0.01


def test_straight_lines_and_alternation_are_flagged_at_once() -> None:
    checks, flags = checked(lefts([True] * 40))
    assert {f.kind for f in flags} == {"left", "pattern"}
    assert (checks.answer_bits, checks.longest_run) == (0.0, 40)
    assert all(f.at_judgment is not None and f.at_judgment <= 30 for f in flags)
    _, flags = checked(lefts([n % 2 == 0 for n in range(40)]))
    assert [f.kind for f in flags] == ["pattern"]


def test_where_sides_were_not_drawn_runs_are_the_datas_and_a_side_may_be() -> None:
    runs = [n // 8 % 2 == 0 for n in range(160)]
    assert [f.kind for f in checked(lefts(runs))[1]] == ["pattern"]
    as_stored = [vote(str(n), "first" if left else "second", "r", "first") for n, left in enumerate(runs)]
    assert checked(as_stored)[1] == []
    [flag] = checked([vote(str(n), "first", "r", "first") for n in range(40)])[1]
    assert flag.kind == "left"
    assert "sides were not drawn" in flag.message


def test_nothing_but_ties_is_flagged() -> None:
    checks, flags = checked([vote(str(n), "tie", "r") for n in range(60)])
    assert [f.kind for f in flags] == ["ties"]
    assert checks.left is None


def test_gold_is_tested_against_the_pass_mark() -> None:
    right, wrong = vote("x", "first", "r"), vote("x", "second", "r")
    answers = [(right if n % 2 else wrong).model_copy(update={"comparison_id": str(n)}) for n in range(100)]
    checks, flags = checked(answers, gold="first")
    assert checks.gold is not None
    assert checks.gold.value == 0.5
    assert [f.kind for f in flags if f.kind == "gold"] == ["gold"]
    good = [(wrong if n % 10 == 0 else right).model_copy(update={"comparison_id": str(n)}) for n in range(100)]
    assert not [f for f in checked(good, gold="first")[1] if f.kind == "gold"]


def test_repeats_are_compared_with_the_first_answer() -> None:
    votes = [
        vote("a", "first", "r"),
        vote("b", "tie", "r"),
        vote("a", "first", "r", repeat=True),
        vote("b", "first", "r", repeat=True),
    ]
    assert repeated_alike(votes) == [True, False]
    assert repeated_alike([vote("c", "first", "r", repeat=True)]) == []


def test_sides_leave_out_ties_and_what_nobody_recorded() -> None:
    votes = [vote("a", "tie", "r"), vote("b", "second", "r", "second"), vote("c", "second", "r", "first")]
    assert sides(votes) == [(1, True), (2, False)]


def test_an_answer_is_fast_against_the_raters_own_time_for_as_much_text() -> None:
    rows = {name: comparison(name, "a" * size, "b" * size) for name, size in (("short", 100), ("long", 1600))}
    rng = np.random.default_rng(0)
    judgments = []
    for n in range(100):
        name = ("short", "long")[n % 2]
        characters = len(name) + 2 * (100, 1600)[n % 2]
        seconds = 0.1 * characters * float(np.exp(rng.normal(0, 0.1)))
        judgments.append(vote(name, "first", "slow", active_s=seconds))
    judgments.append(vote("long", "first", "slow", active_s=40.0))
    judgments.append(vote("short", "first", "slow", active_s=3.5))
    usual = UsualTime(by_rater(judgments), rows)
    assert usual.elasticity == pytest.approx(1, abs=0.05)
    fast = fast_answers(judgments, rows, usual, CONFIG)
    assert [number for number, is_fast in fast if is_fast] == [100, 101]  # 40 s of usually 320; 3.5 s of usually 20
    assert usual.seconds("nobody", 100) is None
