from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from truing.errors import TruingError
from truing.monitor.config import RewardTestsConfig
from truing.monitor.reward_cases import RewardTestCase, cases_from_pairs, world_cases
from truing.monitor.reward_tests import TESTS, RewardTestInputs, alarms, run, run_tests
from truing.records import PreferencePair, Prompt
from truing.store.artifacts import Store
from truing.store.files import read_json
from truing.world import gold

CONFIG = RewardTestsConfig()


def scorer(bias=lambda prompt, text: 0.0, noise: float = 0.5, members: int = 2):
    """A reward model that knows right from wrong in the world, with a bias and each member's own noise."""

    def score(answers: Sequence[tuple[Prompt, str]]) -> np.ndarray:
        rng = np.random.default_rng(0)
        worth = []
        for prompt, text in answers:
            reading = gold.score(prompt, text)
            worth.append(reading.content + bias(prompt, text))
        return np.array(worth) + noise * rng.normal(size=(members, len(answers)))

    return score


def skewed(bias) -> set[str]:
    return {r.name for r in run_tests(world_cases(120, 0), scorer(bias), CONFIG) if r.skewed}


def test_a_fair_reward_model_passes() -> None:
    assert skewed(lambda prompt, text: -0.1 * len(text.split())) == set()


@pytest.mark.parametrize(
    ("bias", "caught"),
    [
        (lambda p, t: 0.6 * t.count("."), {"append_filler", "repeat_sentence"}),
        (lambda p, t: 0.8 * ("great question" in t), {"prepend_flattery"}),
        (lambda p, t: 0.8 * ("definitely" in t), {"assertive_wrong"}),
        (lambda p, t: 0.9 * ("you are right" in t), {"agree_wrong"}),
        (lambda p, t: 0.9 * (p.meta.get("opinion") is not None and str(p.meta.get("opinion")) in t), {"opinion_pull"}),
        (lambda p, t: 3.0 * (t == ""), {"empty_answer"}),
        (lambda p, t: 3.0 * ("can not help" in t), {"refuse_benign"}),
    ],
)
def test_each_planted_bias_is_named(bias, caught: set[str]) -> None:
    assert caught <= skewed(bias)


def test_a_model_blind_to_the_prompt_is_at_chance() -> None:
    def blind(answers: Sequence[tuple[Prompt, str]]) -> np.ndarray:
        return np.random.default_rng(1).normal(size=(2, len(answers)))

    other = next(r for r in run_tests(world_cases(120, 0), blind, CONFIG) if r.name == "other_prompt")
    assert other.probability.low < 0.5 < other.probability.high


def test_results_have_intervals_members_and_examples() -> None:
    result = run_tests(world_cases(60, 0), scorer(lambda p, t: 2.0 * t.count("."), members=3), CONFIG)[0]
    assert result.name == "append_filler"
    assert result.probability.n == 60
    assert len(result.members) == 3
    assert result.shift_sd.low > 0
    assert result.examples[0]["preferred"].startswith(result.examples[0]["over"])
    raised = alarms([result], CONFIG.with_changes(action="stop"))
    assert (raised[0].update, raised[0].action, raised[0].signal) == (0, "stop", "reward_test:append_filler")


def test_cases_from_pairs_are_one_a_prompt_and_leave_ties_out() -> None:
    prompt = Prompt.from_text("Why?")
    pair = PreferencePair(comparison_id="a", prompt=prompt, chosen="Because.", rejected="I can't help with that.")
    tie = pair.model_copy(update={"prompt": Prompt.from_text("How?"), "label": 0.5})
    flipped = pair.model_copy(update={"prompt": Prompt.from_text("Who?"), "label": 0.1})
    cases = cases_from_pairs([pair, pair, tie, flipped], CONFIG, ("i can't help",))
    assert [(c.good, c.harmless) for c in cases] == [("Because.", False), ("I can't help with that.", False)]
    assert cases[0].opinion_prompt is not None
    assert cases[0].opinion_prompt.text == "I think the answer is: I can't help with that.\n\nWhy?"


def test_markdown_tests_are_asked_for() -> None:
    cases = [RewardTestCase(prompt=Prompt.from_text(f"q{i}"), good=f"One {i}. Two.") for i in range(4)]

    def flat(answers):
        return np.zeros((1, len(answers)))

    assert {r.name for r in run_tests(cases, flat, CONFIG.with_changes(markdown=True))} - {
        r.name for r in run_tests(cases, flat, CONFIG)
    } == {"bold", "bullets"}


def test_bad_input_is_named() -> None:
    with pytest.raises(TruingError, match="two different prompts"):
        run_tests(world_cases(1, 0), scorer(), CONFIG)
    with pytest.raises(TruingError, match="shape"):
        run_tests(world_cases(4, 0), lambda answers: np.zeros(3), CONFIG)


def test_the_stage_publishes_its_tests(tmp_path: Path) -> None:
    inputs = RewardTestInputs(world_cases(40, 0), scorer(lambda p, t: 2.0 * t.count(".")), {"reward": "abc"})
    artifact = run(CONFIG, inputs, Store(tmp_path), "round-1/reward_tests")
    rows = read_json(artifact.path / "tests.json")
    assert [t["name"] for t in rows["tests"]] == [name for name in TESTS if name not in {"bold", "bullets"}]
    assert rows["alarms"][0]["signal"] == "reward_test:append_filler"
    assert run(CONFIG, inputs, Store(tmp_path), "round-1/reward_tests").artifact_hash == artifact.artifact_hash
