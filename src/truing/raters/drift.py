"""Did a rater change? CUSUM over a career: gold, reliability, time and ties, each as what the constant rater would not explain.

For a stream x_1..x_n the cumulative sums of (x - mean) are a bridge. Its largest departure over sd * sqrt(n) follows Kolmogorov's
distribution where nothing changed (Page 1954; Ploberger & Kraemer 1992), and lies at the change where something did.

    gold          1 where gold's answer was given
    reliability   the score of alpha: (u - E u) * dq, positive where an answer follows quality more than expected
    time          log seconds less what the text's length explains
    ties          1 where the answer is a tie, less P(tie)

How far reliability fell is then estimated by fitting the raters that drifted as two, before and after the change.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from truing.raters.checks import Flag, Kind
from truing.raters.columns import Columns
from truing.raters.config import ChecksConfig
from truing.raters.pairwise import RaterModel

Floats = NDArray[np.float64]
Stream = Literal["gold", "reliability", "time", "ties"]
_KINDS: Mapping[Stream, Kind] = {
    "gold": "drift_gold",
    "reliability": "drift_reliability",
    "time": "drift_time",
    "ties": "drift_ties",
}


class Change(NamedTuple):
    """The first observation after the change (from 0), its p-value, and the means before and after."""

    at: int
    p_value: float
    before: float
    after: float


def change_point(values: Sequence[float] | Floats, least: int) -> Change | None:
    """The most likely change in mean with at least `least` observations on either side. None where there are too few, or no
    spread.
    """
    x = np.asarray(values, dtype=np.float64)
    n = len(x)
    if n < 2 * least or np.ptp(x) == 0:
        return None
    bridge = np.cumsum(x - x.mean())
    at = int(np.abs(bridge[least - 1 : n - least]).argmax()) + least
    before, after = x[:at], x[at:]
    spread = math.sqrt((((before - before.mean()) ** 2).sum() + ((after - after.mean()) ** 2).sum()) / (n - 2))
    if spread == 0:
        return Change(at, 0.0, float(before.mean()), float(after.mean()))
    statistic = abs(float(bridge[at - 1])) / (spread * math.sqrt(n))
    return Change(at, float(special.kolmogorov(statistic)), float(before.mean()), float(after.mean()))


def drift_flags(
    columns: Columns, model: RaterModel, style_JK: Floats, config: ChecksConfig, log_time_N: Floats | None = None
) -> list[Flag]:
    """A flag for each stream of each rater that changed; `at_judgment` is the first judgment after the change, from 1.

    Numbers count first answers (repeats are no part of the streams). `log_time_N` is NaN where the time is unknown.
    """
    streams = judgment_streams(columns, model, style_JK, log_time_N)
    flags = []
    order = np.lexsort((columns.order_N, columns.rater_N))
    for rows in np.split(order, np.flatnonzero(np.diff(columns.rater_N[order])) + 1):
        for name, stream in streams.items():
            known = rows[np.isfinite(stream[rows])]
            change = change_point(stream[known], config.drift_least)
            if change is not None and change.p_value < config.drift_alpha and _is_large(name, change, config):
                flags.append(_flag(columns, known, name, change))
    return flags


def judgment_streams(
    columns: Columns, model: RaterModel, style_JK: Floats, log_time_N: Floats | None = None
) -> dict[Stream, Floats]:
    """Every stream as a column over judgments; NaN where it says nothing."""
    levels = np.arange(-columns.levels, columns.levels + 1)
    p_NL = model.answer_probabilities(columns.item_N, columns.rater_N, columns.left_N, style_JK)
    gold = columns.gold_J[columns.item_N]
    streams: dict[Stream, Floats] = {
        "gold": np.where(np.isnan(gold), np.nan, (columns.side_N == gold).astype(np.float64)),
        "reliability": (columns.answer_N - p_NL @ levels) / 2 * model.dq_J[columns.item_N],
        "ties": (columns.answer_N == 0) - p_NL[:, columns.levels],
    }
    if log_time_N is not None:
        streams["time"] = log_time_N
    return streams


def split_at(columns: Columns, from_judgment: Mapping[str, int]) -> tuple[Columns, dict[str, int]]:
    """The same judgments with the raters named as two: themselves up to their k-th judgment (from 0), and after it a rater of
    their own.

    Second: the number that each has from then on.
    """
    numbers = {name: len(columns.raters) + extra for extra, name in enumerate(from_judgment)}
    known = {name: number for number, name in enumerate(columns.raters)}
    rater_N = columns.rater_N.copy()
    for name, start in from_judgment.items():
        rater_N[(columns.rater_N == known[name]) & (columns.order_N >= start)] = numbers[name]
    return columns._replace(rater_N=rater_N, raters=(*columns.raters, *(f"{name} (after)" for name in from_judgment))), numbers


def _is_large(stream: Stream, change: Change, config: ChecksConfig) -> bool:
    """Whether a change is worth a look, beyond being real."""
    least = {"time": math.log(config.drift_time_factor), "ties": config.drift_ties_change}
    return abs(change.after - change.before) >= least.get(stream, 0.0)


def _flag(columns: Columns, rows: NDArray[np.intp], stream: Stream, change: Change) -> Flag:
    number = int(columns.order_N[rows[change.at]])
    return Flag(
        rater_id=columns.raters[columns.rater_N[rows[0]]],
        kind=_KINDS[stream],
        message=f"{_in_words(stream, change)} from judgment {number + 1} on",
        at_judgment=number + 1,
        evidence={"p_value": change.p_value, "before": change.before, "after": change.after},
    )


def _in_words(stream: Stream, change: Change) -> str:
    is_more = change.after > change.before
    if stream == "gold":
        return f"answers {change.after:.0%} of gold right ({change.before:.0%} before)"
    if stream == "time":
        return f"takes {math.exp(change.after - change.before):.2g} times as long as before for as much text"
    if stream == "ties":
        return f"calls {'more' if is_more else 'fewer'} ties (by {abs(change.after - change.before):.0%} of answers)"
    scores = f"mean score {change.before:.2f} before, {round(change.after, 2) + 0.0:.2f} after"
    return f"follows quality {'more' if is_more else 'less'} ({scores})"
