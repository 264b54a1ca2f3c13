"""Everything that judgments say of their raters, in one record: agreement, parameters, checks, flags, advice, questions.

from truing.raters.assessment import assess
found = assess(comparisons, judgments)
found.raters[0].reliability, found.advice
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from truing.raters.advice import Advice, RaterEvidence, advise, down_weights
from truing.raters.checks import Flag, RaterChecks, UsualTime, by_rater, characters, check_rater, fast_answers
from truing.raters.coins import coin_z, told_from_coins
from truing.raters.columns import Columns, in_order, to_columns
from truing.raters.config import ChecksConfig
from truing.raters.drift import drift_flags, split_at
from truing.raters.duplicates import duplicate_flags
from truing.raters.labels import fit_columns, to_answers
from truing.raters.pairwise import RaterModel
from truing.raters.questions import Disagreement, GuidelineQuestion, disagreements, guideline_questions
from truing.raters.style import Style, style_of
from truing.records import Comparison, Estimate, Judgment, Record
from truing.stats.agreement import Agreement, krippendorff_alpha, percent_agreement
from truing.stats.intervals import normal_quantile

Floats = NDArray[np.float64]


Answers = Literal["by_quality", "unclear", "against_quality"]
"""What a rater's answers follow, by a test at 1% (`coins.py`). Unclear: they cannot be told from a coin-flipper's."""


class RaterRow(Record):
    """One rater. Reliability is in log-odds a standard deviation of quality, the rest in log-odds.

    `coin_z` is standard normal for a coin-flipper and decides what `answers` follow.
    `position` is the pull to the left; `tastes` what a style adds beyond its worth: length and markdown a doubling, agreement
    where one answer says that the user is right. `tie_log_odds`: a tie against either side, between answers that are equally
    good.
    """

    rater_id: str
    simulated: bool
    answers: Answers
    coin_z: float
    reliability: Estimate
    position: Estimate
    tastes: dict[str, Estimate]
    tie_log_odds: Estimate
    checks: RaterChecks


class Assessment(Record):
    """A workforce as its judgments show it. `quality_effects`: what a unit of a style adds to quality, in its standard
    deviations.
    """

    comparisons: int
    judgments: int
    simulated: bool
    uses_margins: bool
    converged: bool
    agreement: Agreement
    krippendorff_alpha: Agreement
    quality_effects: dict[str, Estimate]
    raters: tuple[RaterRow, ...]
    flags: tuple[Flag, ...]
    advice: tuple[Advice, ...]
    disagreements: tuple[Disagreement, ...]
    questions: tuple[GuidelineQuestion, ...]

    def down_weights(self) -> dict[str, tuple[int, float]]:
        """What the advice makes of labels: give it to `soft_labels` as `down_weighted`."""
        return down_weights(self.advice)


def assess(
    comparisons: Sequence[Comparison], judgments: Sequence[Judgment], config: ChecksConfig | None = None, *, resamples: int = 1000
) -> Assessment:
    """Fit the rater model, run every check, and say what happens next. Raises TruingError as `to_columns`."""
    config = config or ChecksConfig()
    ordered = in_order(judgments)
    columns = to_columns(comparisons, ordered)
    known = {c.comparison_id: c for c in comparisons}
    workforce = by_rater(ordered)
    usual = UsualTime(workforce, known)
    style = style_of(columns.comparisons)
    model = fit_columns(columns)
    coin_z_R = coin_z(to_answers(columns), model)
    checked = {name: check_rater(given, known, usual, config) for name, given in workforce.items()}
    log_time = _log_time(columns, usual.elasticity)
    flags = [flag for _, own in checked.values() for flag in own]
    flags += duplicate_flags(columns, model, style.style_JK, config, log_time)
    flags += drift_flags(columns, model, style.style_JK, config, log_time)
    evidence = {
        name: RaterEvidence(
            judgments=[j for j in given if not j.repeat],
            fast=tuple(given[n].comparison_id for n, fast in fast_answers(given, known, usual, config) if fast),
            reliability={},
        )
        for name, given in workforce.items()
    }
    for name, changes in _reliability_around(columns, flags).items():
        evidence[name] = evidence[name]._replace(reliability=changes)
    good = reliable_raters(columns, model)
    labels = (columns.item_N, columns.rater_N, columns.side_N)
    return Assessment(
        comparisons=len(columns.comparisons),
        judgments=len(ordered),
        simulated=any(j.simulated for j in ordered),
        uses_margins=columns.levels > 1,
        converged=model.converged,
        agreement=percent_agreement(*labels, resamples=resamples),
        krippendorff_alpha=krippendorff_alpha(*labels, "ordinal", resamples=resamples),
        quality_effects={
            name: _estimate(
                float(model.quality_effect_K[k]), float(np.sqrt(model.population.effect_variance_D[2 + k])), len(columns.raters)
            )
            for k, name in enumerate(style.names)
        },
        raters=tuple(
            _row(number, columns, model, style, float(coin_z_R[number]), checked, workforce)
            for number in range(len(columns.raters))
        ),
        flags=tuple(flags),
        advice=tuple(advise(flags, evidence)),
        disagreements=disagreements(columns.comparisons, ordered, good),
        questions=guideline_questions(columns.comparisons, ordered, good),
    )


def reliable_raters(columns: Columns, model: RaterModel) -> frozenset[str]:
    """Raters whose reliability is surely above half of the population's mean: those whose disagreement is worth a question."""
    low, usual = model.interval_RD2[:, 0, 0], model.population.expected()[0]
    return frozenset(name for name, value in zip(columns.raters, low, strict=True) if value > usual / 2)


def _row(
    number: int,
    columns: Columns,
    model: RaterModel,
    style: Style,
    z: float,
    checked: Mapping[str, tuple[RaterChecks, list[Flag]]],
    workforce: Mapping[str, Sequence[Judgment]],
) -> RaterRow:
    name, n = columns.raters[number], round(model.judgments_R[number])
    values = [
        Estimate(value=float(value), low=float(low), high=float(high), n=n)
        for value, (low, high) in zip(model.rater_RD[number], model.interval_RD2[number], strict=True)
    ]
    return RaterRow(
        rater_id=name,
        simulated=any(j.simulated for j in workforce[name]),
        answers=_follow(z),
        coin_z=z,
        reliability=values[0],
        position=values[1],
        tastes={style_name: values[2 + k] for k, style_name in enumerate(style.names)},
        tie_log_odds=values[2 + len(style.names)],
        checks=checked[name][0],
    )


def _follow(coin_z: float) -> Answers:
    if not told_from_coins(coin_z):
        return "unclear"
    return "by_quality" if coin_z > 0 else "against_quality"


def _reliability_around(columns: Columns, flags: Sequence[Flag]) -> dict[str, dict[int, tuple[float, float]]]:
    """alpha before and after each change in gold or reliability: one fit a round of changes, with those raters as two."""
    changes: dict[str, list[int]] = {}
    for flag in flags:
        if flag.kind in {"drift_gold", "drift_reliability"} and flag.at_judgment is not None:
            changes.setdefault(flag.rater_id, []).append(flag.at_judgment)
    found: dict[str, dict[int, tuple[float, float]]] = {name: {} for name in changes}
    for turn in range(max(map(len, changes.values()), default=0)):
        now = {name: starts[turn] for name, starts in changes.items() if turn < len(starts)}
        split, numbers = split_at(columns, {name: start - 1 for name, start in now.items()})
        model = fit_columns(split)
        for name, start in now.items():
            before, after = model.alpha_R[columns.raters.index(name)], model.alpha_R[numbers[name]]
            found[name][start] = (float(before), float(after))
    return found


def _log_time(columns: Columns, elasticity: float) -> Floats:
    lengths = np.array([max(1, characters(c)) for c in columns.comparisons], dtype=np.float64)
    return np.log(columns.seconds_N) - elasticity * np.log(lengths)[columns.item_N]


def _estimate(value: float, error: float, n: int) -> Estimate:
    return Estimate(value=value, low=value - normal_quantile() * error, high=value + normal_quantile() * error, n=n)
