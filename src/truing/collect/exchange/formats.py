"""The formats that judgments are imported from: one table, how each is recognised, and the one way to read any of them.

from truing.collect.exchange.formats import read_judged

for comparison, judgments in read_judged("testset-v1.json.gz"):
...
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from truing.collect.exchange.config import FieldNames
from truing.collect.exchange.judged import Judged
from truing.collect.exchange.readers import argilla, helpsteer, label_studio, pairs, rankings, votes
from truing.data.files import Row, read_rows
from truing.errors import TruingError, nearest


@dataclass(frozen=True)
class Format:
    """One format. `read` is given the rows of one unit: a single row, or all rows with the same `unit`."""

    name: str
    columns: str
    """What it is recognised by, in words."""
    becomes: str
    """What judgments it becomes, who the raters are, whether the side shown at left is known."""
    matches: Callable[[Row], bool]
    read: Callable[[Sequence[Row], FieldNames], Iterable[Judged]]
    unit: Callable[[Row], str] | None = None


def _single(read: Callable[[Row], Iterable[Judged]]) -> Callable[[Sequence[Row], FieldNames], Iterable[Judged]]:
    return lambda rows, _: read(rows[0])


def _named(read: Callable[[Row, FieldNames], Iterable[Judged]]) -> Callable[[Sequence[Row], FieldNames], Iterable[Judged]]:
    return lambda rows, names: read(rows[0], names)


def _several(read: Callable[[Sequence[Row]], Iterable[Judged]]) -> Callable[[Sequence[Row], FieldNames], Iterable[Judged]]:
    return lambda rows, _: read(rows)


FORMATS: tuple[Format, ...] = (
    Format(
        "ukpconvarg1",
        "`prompt`, `stance`, `a1`, `a2`, `votes`",
        "every vote, by rater; `a1` at left; the debate is the group",
        votes.is_ukpconvarg1,
        _single(votes.read_ukpconvarg1),
    ),
    Format(
        "pandalm",
        "`instruction`, `input`, `response1`, `response2`, `annotator1` ...",
        "every annotator's answer, ties too; `response1` at left",
        votes.is_pandalm,
        _single(votes.read_pandalm),
    ),
    Format(
        "chatbot_arena",
        "`conversation_a`, `conversation_b`, `winner`",
        "one vote, by `judge`; `model_a` at left; ties and both bad kept; battles whose turns differ earlier are refused",
        votes.is_chatbot_arena,
        _single(votes.read_chatbot_arena),
    ),
    Format(
        "helpsteer",
        "`prompt`, `response`, `helpfulness` and the other attributes (HelpSteer, HelpSteer2)",
        "all pairs of a prompt's responses by helpfulness, the difference as margin; one rater: the set's average; sides unknown",
        helpsteer.is_ratings,
        _several(helpsteer.read_ratings),
        unit=helpsteer.ratings_prompt,
    ),
    Format(
        "helpsteer2_preference",
        "`prompt`, `response_1`, `response_2`, `preference_strength`",
        "every annotator's margin, raters by their place; `response_1` at left; neither acceptable = both bad",
        helpsteer.is_helpsteer2_preference,
        _single(helpsteer.read_helpsteer2_preference),
    ),
    Format(
        "helpsteer3",
        "`context`, `response1`, `response2`, `overall_preference`",
        "as HelpSteer2's preferences, on conversations",
        helpsteer.is_helpsteer3,
        _single(helpsteer.read_helpsteer3),
    ),
    Format(
        "ultrafeedback",
        "`instruction`, `completions`",
        "all pairs of a prompt's completions by their mean rating; judged by a model, so marked simulated; sides unknown",
        rankings.is_ultrafeedback,
        _single(rankings.read_ultrafeedback),
    ),
    Format(
        "oasst",
        "`message_tree_id`, `prompt` with `replies` (trees)",
        "all pairs of ranked replies; one rater: the set's merged ranking; sides unknown",
        rankings.is_oasst_tree,
        _single(rankings.read_oasst_tree),
    ),
    Format(
        "oasst_messages",
        "`message_id`, `parent_id`, `message_tree_id`, `text`, `role`, `rank` (messages)",
        "the same, its trees rebuilt",
        rankings.is_oasst_message,
        _several(rankings.read_oasst_messages),
        unit=rankings.oasst_tree_id,
    ),
    Format(
        "argilla",
        "version 2: `fields`, `responses`, or `QUESTION.responses` columns; version 1: columns of `user_id`, `value`, `status`",
        "every submitted response, by user; rankings become all pairs; sides unknown",
        argilla.is_argilla,
        _named(argilla.read_argilla),
    ),
    Format(
        "label_studio",
        "`data`, `annotations` with a `pairwise` result",
        "every annotation, by annotator's number; the left text is first; ground truth becomes gold",
        label_studio.is_label_studio,
        _named(label_studio.read_label_studio),
    ),
    Format(
        "hh_rlhf",
        "`chosen`, `rejected` as transcripts",
        "one vote of an unidentified rater; sides unknown; order of storage drawn from the texts",
        pairs.is_hh_rlhf,
        _single(pairs.read_pair),
    ),
    Format(
        "trl",
        "`prompt`, `chosen`, `rejected`, as text or messages, the prompt beside or inside",
        "as hh-rlhf",
        pairs.is_trl,
        _single(pairs.read_pair),
    ),
)
"""Every format, the more particular before the more general: a file is read as the first that its first row matches."""


def read_judged(
    path: str | Path, format_name: str | None = None, names: FieldNames | None = None, *, skipped: list[str] | None = None
) -> Iterator[Judged]:
    """Every comparison of a file with its judgments, in the file's order. `format_name` None = recognised by its columns.

    Raises TruingError naming file and line for a row that cannot be read. Where a list is given as `skipped`, such rows are left
    out and their messages put there instead; a file of which nothing could be read is an error all the same.
    """
    rows = read_rows(path)
    chosen = find_format(format_name) if format_name else recognise(rows[0])
    n_read = 0
    for unit in _units(rows, chosen):
        try:
            found = list(chosen.read(unit, names or FieldNames()))
        except TruingError as error:
            if skipped is None:
                raise TruingError(f"{error}. Mend or remove the row, or leave such rows out with --bad-rows drop") from None
            skipped.append(str(error))
            continue
        n_read += len(found)
        yield from found
    if n_read == 0:
        reason = f"; the first problem: {skipped[0]}" if skipped else ""
        raise TruingError(f"{path}: read as {chosen.name}, it holds no judged pair{reason}")


def recognise(row: Row) -> Format:
    """The format of a file by its first row. Raises TruingError listing what each format is recognised by."""
    found = next((f for f in FORMATS if f.matches(row)), None)
    if found is None:
        known = "\n  ".join(f"{f.name}: {f.columns}" for f in FORMATS)
        raise TruingError(
            f"{row.place}: not a format of judged answers that is known (columns: {', '.join(row.fields)}). Known:\n  {known}\n"
            "Rename its columns to one of these, or name the format with --format"
        )
    return found


def find_format(name: str) -> Format:
    """A format by name. Raises TruingError naming the nearest."""
    found = {f.name: f for f in FORMATS}
    if name not in found:
        raise TruingError(f"--format {name}: no such format{nearest(name, found)} (known: {', '.join(found)})")
    return found[name]


def _units(rows: Sequence[Row], chosen: Format) -> Iterator[Sequence[Row]]:
    """The rows one by one, or gathered by what they share, in the order in which each first appears."""
    if chosen.unit is None:
        yield from ([row] for row in rows)
        return
    gathered: dict[str, list[Row]] = {}
    for row in rows:
        gathered.setdefault(chosen.unit(row), []).append(row)
    yield from gathered.values()
