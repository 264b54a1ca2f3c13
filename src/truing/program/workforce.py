"""Raters and policies as their judgments show them, as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from truing.raters.advice import Advice
from truing.raters.assessment import Assessment, RaterRow
from truing.raters.leaderboard import Leaderboard
from truing.records import Estimate
from truing.stats.agreement import Agreement

STYLES = {"agreement": "agreeing with the user"}
"""What a style is called where its own name could be taken for something else: raters agree, too."""
UNITS = {"length": " a doubling", "markdown": " a doubling of marks", "agreement": ""}
NAMED = 12
"""Raters named in one line."""
SIMULATED = "raters simulated: no person made these judgments"


def render_assessment(found: Assessment, most: int) -> str:
    """Agreement, the raters with most judgments (at most `most`), flags, advice and questions."""
    lines = [SIMULATED] if found.simulated else []
    lines += [
        f"{found.judgments:,} judgments of {found.comparisons:,} comparisons by {_raters_counted(found)}",
        f"raters of a comparison say the same: {_agreement(found.agreement)}",
        f"the same beyond chance, Krippendorff's alpha: {_agreement(found.krippendorff_alpha)}",
    ]
    if found.agreement.undefined:
        lines.append("hardly any comparison has two raters: what stands below is what is expected of any rater, not measured")
    lines += [
        f"{STYLES.get(name, name)} is worth {_interval(value)} sd of quality{UNITS[name]}"
        for name, value in found.quality_effects.items()
    ]
    if not found.converged:
        lines.append("the rater model did not converge: take its numbers as rough")
    shown = sorted(found.raters, key=lambda row: -row.checks.judgments)[:most]
    lines += ["", "log-odds with 95% intervals, then shares of answers", *_table(_without_empty(_raters(shown, found)))]
    if len(shown) < len(found.raters):
        lines.append(f"... and {len(found.raters) - len(shown):,} raters with fewer judgments (--top, or --json for all)")
    lines += follow_nothing(found)
    lines += ["", "flags (nobody is rejected by one):" if found.flags else "no flags"]
    lines += [f"  {flag.rater_id}  {flag.kind}: {flag.message}" for flag in found.flags]
    lines += ["", "what happens next:"] if found.advice else []
    for (rater_id, reason), together in groupby(found.advice, key=lambda one: (one.rater_id, one.reason)):
        lines.append(f"  {rater_id}  {', '.join(map(_to_do, together))}: {reason}")
    lines += ["", "questions to the guideline:"] if found.questions else []
    lines += [f"  {question.question_id}  {question.text}" for question in found.questions]
    return "\n".join(lines)


def render_leaderboard(found: Leaderboard) -> str:
    """Policies, the strongest first, and what style gains."""
    lines = [SIMULATED] if found.simulated else []
    head = ["rank", "policy", "strength [95%]", "without style control", "wins", "judgments"]
    rows = [
        [
            str(s.best_rank) if s.best_rank == s.worst_rank else f"{s.best_rank}-{s.worst_rank}",
            s.policy,
            _interval(s.strength),
            _interval(s.plain),
            f"{s.wins:.2f}",
            str(s.strength.n),
        ]
        for s in found.standings
    ]
    lines += [*_table([head, *rows]), ""]
    lines += [
        f"{STYLES.get(name, name)} gains {_interval(effect)} logits{UNITS.get(name, '')}"
        for name, effect in found.effects.items()
    ]
    lines.append(f"{found.judgments:,} judgments of {found.comparisons:,} comparisons" + _left_out(found.left_out))
    return "\n".join(lines)


def _left_out(count: int) -> str:
    return f"; {count:,} left out: one policy on both sides, or an unknown one" if count else ""


def _to_do(advice: Advice) -> str:
    where = f" from judgment {advice.from_judgment} to weight {advice.weight:g}" if advice.weight is not None else ""
    what = f" {len(advice.comparison_ids):,} comparisons" if advice.comparison_ids else ""
    return f"{advice.action.replace('_', '-')}{where}{what}"


def follow_nothing(found: Assessment) -> list[str]:
    """Those who cannot be told from coin-flippers, and those who answer upside down, in the order of their judgments."""
    lines = []
    for kind, what in (("unclear", "cannot be told from coin-flippers"), ("against_quality", "answer against quality")):
        some = sorted((row for row in found.raters if row.answers == kind), key=lambda row: -row.checks.judgments)
        names = ", ".join(f"{row.rater_id} ({row.checks.judgments})" for row in some[:NAMED])
        more = f", and {len(some) - NAMED:,} with fewer judgments" if len(some) > NAMED else ""
        lines += [f"{what}: {names}{more}"] if some else []
    return lines


def _raters_counted(found: Assessment) -> str:
    return "1 rater" if len(found.raters) == 1 else f"{len(found.raters):,} raters"


def _raters(rows: Sequence[RaterRow], found: Assessment) -> list[list[str]]:
    tastes = [STYLES.get(name, name) for name in found.quality_effects]
    head = ["rater", "n", "reliability", "pull left", *tastes, "gold right", "repeats alike", "chose left", "ties", "fast"]
    return [head, *(_row(row, found) for row in rows)]


def _without_empty(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """A table without the columns in which nothing was measured."""
    columns = [column for column in zip(*rows, strict=True) if set(column[1:]) != {"-"}]
    return [list(row) for row in zip(*columns, strict=True)]


def _row(row: RaterRow, found: Assessment) -> list[str]:
    checks = row.checks
    rates = (checks.gold, checks.repeats, checks.left, checks.ties, checks.fast)
    return [
        row.rater_id,
        str(checks.judgments),
        _interval(row.reliability),
        _interval(row.position),
        *(_interval(row.tastes[name]) for name in found.quality_effects),
        *("-" if rate is None else f"{rate.value:.2f}" for rate in rates),
    ]


def _interval(value: Estimate) -> str:
    return "{} [{}, {}]".format(*(f"{round(number, 2) + 0.0:.2f}" for number in (value.value, value.low, value.high)))


def _agreement(found: Agreement) -> str:
    return f"undefined ({found.undefined})" if found.undefined else f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
