"""Verbs that move judgments: from files into sets, and into and out of a running collection service by way of its API."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from truing.cli.options import LOCAL, AsJson, Url

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
    from truing.store.files import read_text

    values = {"format": format_name, "names": _names(field), "pairs": pairs or [], "bad_rows": bad_rows}
    config = validate(ConvertConfig, values, "options")
    followed = Guideline(version=guideline_version, text=read_text(guideline)) if guideline else None
    named = NamedGuideline(guideline.stem, followed) if guideline and followed else None
    print_artifact(make_set(source, out, config, guideline=named), as_json=json)


def import_file(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="Judged answers in a known format.")],
    campaign: Annotated[str, typer.Option("--campaign", metavar="NAME", help="The campaign that they are to be judged in.")],
    format_name: FormatName = None,
    field: FieldName = None,
    with_judgments: Annotated[
        bool, typer.Option("--with-judgments", help="Also take the file's judgments, as answers given elsewhere.")
    ] = False,
    bad_rows: BadRows = "error",
    url: Url = LOCAL,
) -> None:
    """Add a file's comparisons to a campaign of a running service (token: TRUING_COLLECT_TOKEN)."""
    from truing.cli.output import print_text
    from truing.collect.client import Client

    with Client.from_environment(url) as client:
        added = client.import_file(
            client.campaign(campaign).id,
            source,
            format_name=format_name,
            fields=_names(field),
            with_judgments=with_judgments,
            drop_bad_rows=bad_rows == "drop",
        )
    print_text(f"{added.items} items and {added.judgments} judgments added; {added.present} items were there already")
    for message in added.left_out:
        print_text(f"left out: {message}")


def export(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The export's name; it is frozen under it.")],
    campaign: Annotated[list[str], typer.Option("--campaign", metavar="NAME", help="What is exported. Repeatable.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder that the judgment set is fetched into.")],
    batch: Annotated[list[str] | None, typer.Option("--batch", metavar="NAME", help="Only these batches. Repeatable.")] = None,
    pairs: Pairs = None,
    url: Url = LOCAL,
    json: AsJson = False,
) -> None:
    """Freeze what campaigns of a running service have now, and fetch the judgment set (token: TRUING_COLLECT_TOKEN)."""
    from truing.cli.output import print_artifact
    from truing.collect.client import Client

    with Client.from_environment(url) as client:
        known = {found.name: found for found in client.exports()}
        begun = known.get(name) or client.start_export(name, campaign, batches=batch or [], pairs=pairs or [])
        print_artifact(client.download(client.wait_for_export(begun.id).id, out), as_json=json)


def _names(fields: list[str] | None) -> dict[str, str]:
    return {key.strip(): name.strip() for key, _, name in (field.partition("=") for field in fields or [])}
