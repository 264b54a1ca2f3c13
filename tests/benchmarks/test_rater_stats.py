"""The simulated figures of the guide, with tiny numbers: that what is known to be true comes out."""

import json
import sys

import numpy as np
import pytest

from benchmarks import rater_stats
from benchmarks.rater_stats import aggregate, anchored, coins_named, crowd_told, over_seeds, placed
from benchmarks.worlds.workforce import simulate

ACCURACY = np.r_[0.5, 0.5, np.linspace(0.7, 0.95, 8)]


def test_planted_coin_flippers_are_named_and_others_are_not() -> None:
    labels = simulate(0, items=600, per_item=4, accuracy_R=ACCURACY)
    assert coins_named(labels) == {"all_coins_named": True, "others_named": 0.0}
    honest = labels._replace(accuracy_R=np.r_[0.5, 0.5, 0.5, ACCURACY[3:]])  # a rater right in 70% is called a coin-flipper
    assert coins_named(honest)["all_coins_named"] is False


def test_weighing_raters_beats_majority_where_some_toss_coins() -> None:
    found = aggregate(simulate(1, items=400, per_item=4, accuracy_R=ACCURACY))
    assert min(found["dawid_skene"], found["mace"], found["rater_model"]) > found["majority"] + 1
    assert found["dawid_skene_minus_majority"] == pytest.approx(found["dawid_skene"] - found["majority"])
    assert found["accuracy_correlation"] > 0.9
    assert found["coins_by_rank"] is True


def test_more_judgments_tell_more_raters_from_coins() -> None:
    few, many = crowd_told(0, 30), crowd_told(0, 240)
    assert few["usual_told"] < many["usual_told"]
    assert many["usual_told"] > 0.9


def test_gold_shows_a_bias_that_all_share_and_its_labels_are_better() -> None:
    without, with_gold = (anchored(0, 0.8, share, "clear", items=1000) for share in (0.0, 0.1))
    assert without["shared_bias_found"] < with_gold["shared_bias_found"] < 1.3
    assert without["labels_minus_majority"] < with_gold["labels_minus_majority"]
    assert with_gold["bias_coverage"] > 0.7


def test_leaderboards_find_the_planted_order() -> None:
    assert placed(rater_stats.LEADERBOARDS["davidson"](np.random.default_rng(0), 3000))["kendall_tau"] > 0.95


def test_yes_and_no_are_shares_of_seeds_and_numbers_are_means() -> None:
    found = over_seeds([{"hit": True, "share": 0.2}, {"hit": False, "share": 0.4}])
    assert found["hit"]["value"] == 0.5
    assert 0 < found["hit"]["low"] < 0.5 < found["hit"]["high"] < 1
    assert (found["share"]["value"], found["share"]["n"]) == (pytest.approx(0.3), 2)


def test_the_command_prints_its_parts_last(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(rater_stats, "ITEMS", 200)
    monkeypatch.setattr(sys, "argv", ["rater_stats", "--parts", "coin_flippers", "--coin-seeds", "2", "--json"])
    rater_stats.main()
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["simulated"] is True
    assert set(found["coin_flippers"]) == {"5 coins, 3 labels", "5 coins, 5 labels"}
    assert found["coin_flippers"]["5 coins, 3 labels"]["all_coins_named"]["n"] == 2
