"""Verbs that read and write judgments of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from truing.cli.options import AsJson

FormatName = Annotated[
    str | None, typer.Option("--format", metavar="NAME", help="The file's format (default: recognised by its columns).")
]
FieldName = Annotated[
    list[str] | None,
    typer.Option("--field", metavar="KEY=NAME", help="Argilla, Label Studio: the field for prompt, first, second, question."),
]
BadRows = Annotated[str, typer.Option("--bad-rows", metavar="error|drop", help="What is done with rows that cannot be read.")]
Pairs = Annotated[
    list[str] | None,
    typer.Option("--pairs", metavar="FORMAT", help="Also write pairs/FORMAT.jsonl: trl, trl_conversational, hh_rlhf, jsonl."),
]


def convert(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="Judged answers in a known format, or a judgment set.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the judgment set.")],
    format_name: FormatName = None,
    field: FieldName = None,
    guideline: Annotated[
        Path | None, typer.Option("--guideline", metavar="FILE", help="What the raters followed, where you know it.")
    ] = None,
    guideline_version: Annotated[int, typer.Option("--guideline-version", min=1, help="Its version.")] = 1,
    pairs: Pairs = None,
    bad_rows: BadRows = "error",
    json: AsJson = False,
) -> None:
    """Make a judgment set of judged answers in another program's format, for `truing reward --comparisons DIR`."""
    from truing.cli.output import print_artifact
    from truing.collect.exchange.convert import ConvertConfig
    from truing.collect.exchange.convert import convert as make_set
    from truing.collect.exchange.sets import NamedGuideline
    from truing.config import validate
    from truing.records import Guideline

    values = {"format": format_name, "names": _names(field), "pairs": pairs or [], "bad_rows": bad_rows}
    config = validate(ConvertConfig, values, "options")
    followed = Guideline(version=guideline_version, text=guideline.read_text(encoding="utf-8")) if guideline else None
    named = NamedGuideline(guideline.stem, followed) if guideline and followed else None
    print_artifact(make_set(source, out, config, guideline=named), as_json=json)


def _names(fields: list[str] | None) -> dict[str, str]:
    return {key.strip(): name.strip() for key, _, name in (field.partition("=") for field in fields or [])}
