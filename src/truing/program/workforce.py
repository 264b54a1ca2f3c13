"""Raters and policies as their judgments show them, as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from truing.raters.assessment import Assessment, RaterRow
from truing.raters.leaderboard import Leaderboard
from truing.records import Estimate
from truing.stats.agreement import Agreement

UNITS = {"length": "a doubling", "markdown": "a doubling of marks", "agreement": "where an answer says that the user is right"}
SIMULATED = "raters simulated: no person made these judgments"


def render_assessment(found: Assessment, most: int) -> str:
    """Agreement, the raters with most judgments (at most `most`), flags, advice and questions."""
    lines = [SIMULATED] if found.simulated else []
    lines += [
        f"{found.judgments} judgments of {found.comparisons} comparisons by {len(found.raters)} raters",
        f"agreement {_agreement(found.agreement)}, Krippendorff's alpha {_agreement(found.krippendorff_alpha)}",
    ]
    lines += [f"{name} is worth {_interval(value)} sd of quality {UNITS[name]}" for name, value in found.quality_effects.items()]
    if not found.converged:
        lines.append("the rater model did not converge: take its numbers as rough")
    shown = sorted(found.raters, key=lambda row: -row.checks.judgments)[:most]
    lines += ["", *_table([_head(found), *(_row(row, found) for row in shown)])]
    if len(shown) < len(found.raters):
        lines.append(f"... and {len(found.raters) - len(shown)} raters with fewer judgments (--top, or --json for all)")
    lines += ["", "flags (nobody is rejected by one):" if found.flags else "no flags"]
    lines += [f"  {flag.rater_id}  {flag.kind}: {flag.message}" for flag in found.flags]
    lines += ["", "what happens next:"] if found.advice else []
    for advice in found.advice:
        where = f" from judgment {advice.from_judgment} to weight {advice.weight:g}" if advice.weight is not None else ""
        lines.append(
            f"  {advice.rater_id}  {advice.action.replace('_', '-')}{where}{_again(advice.comparison_ids)}: {advice.reason}"
        )
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
    lines += [f"{name} gains {_interval(effect)} logits" for name, effect in found.effects.items()]
    lines.append(f"{found.judgments} judgments of {found.comparisons} comparisons" + _left_out(found.left_out))
    return "\n".join(lines)


def _left_out(count: int) -> str:
    return f"; {count} left out: one policy on both sides, or an unknown one" if count else ""


def _again(comparison_ids: Sequence[str]) -> str:
    return f" {len(comparison_ids)} comparisons" if comparison_ids else ""


def _head(found: Assessment) -> list[str]:
    return ["rater", "n", "reliability", "to the left", *_tastes(found), "gold", "repeats", "left", "ties", "fast"]


def _row(row: RaterRow, found: Assessment) -> list[str]:
    checks = row.checks
    rates = (checks.gold, checks.repeats, checks.left, checks.ties, checks.fast)
    return [
        row.rater_id,
        str(checks.judgments),
        _interval(row.reliability),
        _interval(row.position),
        *(_interval(row.tastes[name]) for name in _tastes(found)),
        *("-" if rate is None else f"{rate.value:.2f}" for rate in rates),
    ]


def _tastes(found: Assessment) -> list[str]:
    return list(found.quality_effects)


def _interval(value: Estimate) -> str:
    return f"{value.value:.2f} [{value.low:.2f}, {value.high:.2f}]"


def _agreement(found: Agreement) -> str:
    return f"undefined ({found.undefined})" if found.undefined else f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
