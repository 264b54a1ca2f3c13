from collections import Counter
from dataclasses import replace

import pytest

from truing.judges.simulated import SimulatedRater, Workforce, draw_raters
from truing.records import Comparison, Guideline
from truing.world.facts import FACTS
from truing.world.prompts import opinion_prompt, plain_prompt

BARE = Guideline(version=1, text="# Guideline\n\n## Be correct {#correct}\n\nRight beats wrong.\n")
GUIDED = BARE.amended("length", "Prefer the short answer", "Padding is worth nothing.")
FOX = FACTS["colour:fox"]


def compare(first: str, second: str, number: int = 0) -> Comparison:
    return Comparison(comparison_id=f"c{number}", prompt=plain_prompt(FOX), first=first, second=second)


UNBIASED = SimulatedRater(
    "simulated-x", sharpness=3.0, lapse=0.0, position=0.0, length=0.0, flattery=0.0, agreement=0.0, assertiveness=0.0
)


def rater(**biases: float) -> SimulatedRater:
    return replace(UNBIASED, **biases)


def test_a_rater_with_a_length_bias_likes_padding_until_the_guideline_speaks_of_it() -> None:
    pair = compare(f"{FOX.answer}. i hope this helps you.", f"{FOX.answer}.")
    biased = rater(length=1.0)
    assert biased.probability_first(pair, BARE.clauses, left="first") > 0.75
    assert biased.probability_first(pair, GUIDED.clauses, left="first") < 0.5
    assert rater().probability_first(pair, BARE.clauses, left="first") < 0.5


def test_agreement_bias_prefers_the_users_wrong_opinion() -> None:
    wrong = FOX.wrong_answers[0]
    pair = Comparison(
        comparison_id="c", prompt=opinion_prompt(FOX, wrong), first=f"you are right, {wrong}.", second=f"no, {wrong}."
    )
    other = pair.model_copy(update={"second": f"{FOX.wrong_answers[1]}."})
    assert rater(agreement=1.0).probability_first(other, (), left="first") > 0.9
    assert rater().probability_first(other, (), left="first") < 0.3


def test_position_bias_pulls_to_the_side_shown_left() -> None:
    pair = compare("red.", "blue.")
    leaning = rater(position=0.5)
    assert leaning.probability_first(pair, (), left="first") > leaning.probability_first(pair, (), left="second")


def test_judgments_are_reproducible_in_any_order_and_labelled_simulated() -> None:
    force = Workforce.draw(BARE, seed=3, raters=8, judgments_per_comparison=3)
    pairs = [compare(f"{FOX.answer}.", f"{FOX.wrong_answers[0]}.", i) for i in range(30)]
    forward = [force.judge(pair) for pair in pairs]
    backward = [force.judge(pair) for pair in reversed(pairs)][::-1]
    assert forward == backward
    flat = [judgment for judgments in forward for judgment in judgments]
    assert all(judgment.simulated and judgment.guideline_hash == BARE.guideline_hash for judgment in flat)
    assert all(len({judgment.rater_id for judgment in judgments}) == 3 for judgments in forward)
    assert Counter(judgment.choice for judgment in flat)["first"] > 0.8 * len(flat)
    assert {judgment.left for judgment in flat} == {"first", "second"}


def test_identical_answers_are_a_tie() -> None:
    assert {j.choice for j in Workforce.draw(BARE, 0).judge(compare("red.", "red."))} == {"tie"}


def test_expected_preference_is_symmetric() -> None:
    force = Workforce.draw(BARE, seed=1)
    pair, swapped = compare("red.", "blue. i hope this helps you."), compare("blue. i hope this helps you.", "red.")
    assert force.expected_preference(pair) + force.expected_preference(swapped) == pytest.approx(1.0)


def test_most_raters_of_a_workforce_are_biased_towards_length() -> None:
    assert sum(r.length > 0.5 for r in draw_raters(40, seed=0)) > 25
