"""Simulated raters for the embedded world: known accuracy, known biases, always labelled simulated.

A rater's utility of an answer is its gold content plus style terms. An unbiased rater weighs style as the gold rule does; a
biased one likes padding, flattery or agreement instead, unless the guideline has a clause about it, which leaves a tenth of
the bias. Preferences are Bradley-Terry in utility, with a pull to the left side and lapses of attention:

    P(first) = lapse / 2 + (1 - lapse) * sigmoid(sharpness * (u_first - u_second) + position * (+1 left | -1 right))
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from truing.records import Choice, Comparison, Guideline, Judgment, seed_for
from truing.world import gold

REMAINING_BIAS = 0.1
"""Share of a bias that is left once the guideline has a clause about it."""

LIKES_EXTRA_SENTENCE = 0.5
LIKES_FLATTERY = 0.7
LIKES_AGREEMENT = 0.9
LIKES_ASSERTIVE = 0.4
TIE_BAND = 0.06
"""A rater whose preference is within this of a coin toss calls it a tie."""


@dataclass(frozen=True)
class SimulatedRater:
    """One rater. Biases are between 0 (judges style as the gold rule does) and 1 (the full liking above)."""

    rater_id: str
    sharpness: float
    lapse: float
    position: float
    length: float
    flattery: float
    agreement: float
    assertiveness: float

    def utility(self, scored: gold.GoldScore, clauses: Sequence[str]) -> float:
        """What this rater feels an answer is worth under a guideline with these clauses."""

        def mix(bias: float, clause: str, true_worth: float, liking: float) -> float:
            felt = bias * (REMAINING_BIAS if clause in clauses else 1.0)
            return (1 - felt) * true_worth + felt * liking

        extra = mix(self.length, "length", gold.PER_EXTRA_SENTENCE, LIKES_EXTRA_SENTENCE) * scored.extra_sentences
        flattery = mix(self.flattery, "flattery", gold.FLATTERY, LIKES_FLATTERY) if scored.flatters else 0.0
        agreement = mix(self.agreement, "opinion", gold.SYCOPHANCY, LIKES_AGREEMENT) if scored.agrees_with_wrong else 0.0
        assertive = mix(self.assertiveness, "confidence", 0.0, LIKES_ASSERTIVE) if scored.assertive else 0.0
        malformed = gold.MALFORMED if scored.malformed else 0.0
        return scored.content + extra + flattery + agreement + assertive + malformed

    def probability_first(self, comparison: Comparison, clauses: Sequence[str], *, left: str) -> float:
        """P(this rater chooses `first`), shown with `left` ("first" or "second") at left."""
        first = self.utility(gold.score(comparison.prompt, comparison.first), clauses)
        second = self.utility(gold.score(comparison.prompt, comparison.second), clauses)
        pull = self.position if left == "first" else -self.position
        return self.lapse / 2 + (1 - self.lapse) / (1 + math.exp(-self.sharpness * (first - second) - pull))


def draw_raters(n: int, seed: int) -> list[SimulatedRater]:
    """A workforce: most like longer answers, many like flattery and agreement, all are a little inattentive."""
    rng = random.Random(seed_for(seed, "raters"))

    def bias(share: float) -> float:
        return rng.uniform(0.7, 1.0) if rng.random() < share else rng.uniform(0.0, 0.2)

    return [
        SimulatedRater(
            rater_id=f"simulated-{index:02d}",
            sharpness=rng.uniform(2.5, 4.0),
            lapse=rng.uniform(0.01, 0.06),
            position=rng.uniform(0.0, 0.3),
            length=bias(0.8),
            flattery=bias(0.7),
            agreement=bias(0.7),
            assertiveness=bias(0.6),
        )
        for index in range(n)
    ]


@dataclass(frozen=True)
class Workforce:
    """Simulated raters working under one guideline. The same seed gives the same judgments in any order of comparisons."""

    raters: tuple[SimulatedRater, ...]
    guideline: Guideline
    seed: int
    judgments_per_comparison: int = 1

    @classmethod
    def draw(cls, guideline: Guideline, seed: int, *, raters: int = 20, judgments_per_comparison: int = 1) -> Workforce:
        """A workforce of `raters` people-like judges."""
        return cls(tuple(draw_raters(raters, seed)), guideline, seed, judgments_per_comparison)

    def judge(self, comparison: Comparison) -> list[Judgment]:
        """Independent judgments of one comparison by different raters, sides drawn for each."""
        rng = self._rng(comparison)
        return [self._judge(rng, rater, comparison) for rater in self._assigned(rng)]

    def expected_preference(self, comparison: Comparison) -> float:
        """P(first preferred) averaged over all raters and both sides: what a perfect reward model would predict."""
        clauses = self.guideline.clauses
        return sum(
            rater.probability_first(comparison, clauses, left=left) for rater in self.raters for left in ("first", "second")
        ) / (2 * len(self.raters))

    def _rng(self, comparison: Comparison) -> random.Random:
        return random.Random(seed_for(self.seed, "judge", self.guideline.guideline_hash, comparison.comparison_id))

    def _assigned(self, rng: random.Random) -> list[SimulatedRater]:
        return rng.sample(self.raters, self.judgments_per_comparison)

    def _judge(self, rng: random.Random, rater: SimulatedRater, comparison: Comparison) -> Judgment:
        left = "first" if rng.random() < 0.5 else "second"
        p_first = rater.probability_first(comparison, self.guideline.clauses, left=left)
        if comparison.first == comparison.second or abs(p_first - 0.5) < TIE_BAND:
            choice: Choice = "tie"
        else:
            choice = "first" if rng.random() < p_first else "second"
        confidence = 0.5 if choice == "tie" else max(p_first, 1 - p_first)
        return Judgment(
            comparison_id=comparison.comparison_id,
            rater_id=rater.rater_id,
            guideline_hash=self.guideline.guideline_hash,
            left="first" if left == "first" else "second",
            choice=choice,
            confidence=round(confidence, 4),
            simulated=True,
        )
