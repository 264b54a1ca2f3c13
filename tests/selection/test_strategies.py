from typing import get_args

import numpy as np
import pytest

from truing.errors import TruingError
from truing.records import Comparison, Judgment, Prompt
from truing.selection.config import SelectionConfig, Strategy
from truing.selection.draw import inclusion_probabilities
from truing.selection.pool import PairScores, Pool
from truing.selection.strategies import RIDGE, STRATEGIES


def comparisons(*sources: str) -> list[Comparison]:
    return [
        Comparison(comparison_id=f"c{n}", prompt=Prompt.from_text(f"q{n}"), first="a", second="b", source=source)
        for n, source in enumerate(sources)
    ]


def judged(comparison_id: str, choice: str, confidence: float) -> Judgment:
    return Judgment(
        comparison_id=comparison_id,
        rater_id="judge",
        guideline_hash="g",
        left="first",
        choice=choice,
        confidence=confidence,
        simulated=True,
    )


TWO = comparisons("sampled", "finding:prompt")


def test_the_table_has_every_strategy_that_a_recipe_may_name() -> None:
    assert set(STRATEGIES) == set(get_args(Strategy))
    assert SelectionConfig(budget=1).strategy in STRATEGIES


def test_scores_by_hand() -> None:
    scores = [PairScores(comparison_id="c1", margins=(-3.0, -1.0)), PairScores(comparison_id="c0", margins=(0.0, 1.0))]
    judgments = [judged("c0", "first", 0.9), judged("c0", "tie", 0.5), judged("c1", "second", 0.8)]
    pool = Pool.of(TWO, scores, judgments)
    assert STRATEGIES["uniform"](pool).tolist() == [1, 1]
    assert STRATEGIES["ensemble_variance"](pool).tolist() == [0.5, 2]
    assert STRATEGIES["large_gap"](pool).tolist() == [0.5, 2]
    assert STRATEGIES["findings_first"](pool).tolist() == [0, 1]

    def sigma(x):
        return 1 / (1 + np.exp(-x))

    assert STRATEGIES["judge_disagreement"](pool) == pytest.approx(
        [abs(0.7 - (0.5 + sigma(1)) / 2), abs(0.2 - (sigma(-3) + sigma(-1)) / 2)]
    )


def test_fisher_information_is_the_derivative_of_log_det() -> None:
    rng = np.random.default_rng(0)
    features, margins = rng.normal(size=(30, 3)), rng.normal(size=(2, 30))
    score = STRATEGIES["fisher_information"](Pool(comparisons(*["sampled"] * 30), margins, features))
    p = 1 / (1 + np.exp(-margins.mean(0)))
    each = (p * (1 - p))[:, None, None] * features[:, :, None] * features[:, None, :]
    mean = each.mean(0)
    mean = mean + RIDGE * np.trace(mean) / 3 * np.eye(3)
    step = 1e-6
    for row in range(3):
        slope = (np.linalg.slogdet(mean + step * each[row])[1] - np.linalg.slogdet(mean)[1]) / step
        assert score[row] == pytest.approx(slope, rel=1e-4)
    # Without the ridge the scores of a pool average to the number of features (Kiefer & Wolfowitz 1960)
    assert score.mean() == pytest.approx(3, rel=2 * RIDGE)


def test_fisher_information_does_not_depend_on_the_features_scale_or_on_dead_ones() -> None:
    rng = np.random.default_rng(1)
    features, margins = rng.normal(size=(20, 2)), rng.normal(size=(1, 20))
    rows = comparisons(*["sampled"] * 20)
    score = STRATEGIES["fisher_information"](Pool(rows, margins, features))
    assert STRATEGIES["fisher_information"](Pool(rows, margins, 1000 * features)) == pytest.approx(score)
    assert STRATEGIES["fisher_information"](Pool(rows, margins, 0 * features)).tolist() == [0] * 20


def test_findings_are_taken_before_anything_else() -> None:
    pool = Pool(comparisons(*["finding:x"] * 3, *["sampled"] * 7))
    pi = inclusion_probabilities(STRATEGIES["findings_first"](pool), 5, 0.15)
    assert pi[:3].tolist() == [1, 1, 1]
    assert pi[3:] == pytest.approx(2 / 7)


def test_what_a_strategy_lacks_is_named() -> None:
    for strategy, lacks in (
        ("ensemble_variance", "--reward"),
        ("large_gap", "--reward"),
        ("fisher_information", "features"),
        ("judge_disagreement", "--reward"),
    ):
        with pytest.raises(TruingError, match=lacks):
            STRATEGIES[strategy](Pool(TWO))
    with pytest.raises(TruingError, match="--judge"):
        STRATEGIES["judge_disagreement"](Pool(TWO, np.ones((1, 2))))
    with pytest.raises(TruingError, match="at least 2; there is 1 member"):
        STRATEGIES["ensemble_variance"](Pool(TWO, np.ones((1, 2))))


def test_a_pool_without_its_scores_is_refused() -> None:
    with pytest.raises(TruingError, match="no comparisons"):
        Pool.of([])
    with pytest.raises(TruingError, match="more than once"):
        Pool.of([*TWO, TWO[0]])
    with pytest.raises(TruingError, match="scores lack 1 of the pool's 2 comparisons, for example 'c1'"):
        Pool.of(TWO, [PairScores(comparison_id="c0", margins=(1.0,))])
    with pytest.raises(TruingError, match="judgments lack 2"):
        Pool.of(TWO, judged=[])
    with pytest.raises(TruingError, match="not all of one ensemble"):
        Pool.of(TWO, [PairScores(comparison_id="c0", margins=(1.0,)), PairScores(comparison_id="c1", margins=(1.0, 2.0))])
