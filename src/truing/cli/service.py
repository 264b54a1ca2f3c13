"""Verbs of the collection service itself: serve it, migrate it, make a campaign in it, back it up."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Annotated, Literal

import typer

from truing.cli.options import LOCAL, RecipeFile, Set, Url

Database = Annotated[
    str | None,
    typer.Option("--database", metavar="URL|PATH", help="A SQLite file, or postgresql+psycopg://... (default: in --folder)."),
]
Folder = Annotated[Path, typer.Option("--folder", metavar="DIR", help="Where the service keeps its database, key and exports.")]
DEFAULT_FOLDER = Path("truing-collect")


def serve(
    context: typer.Context,
    database: Database = None,
    folder: Folder = DEFAULT_FOLDER,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to listen on.")] = 8000,
    public_url: Annotated[
        str | None, typer.Option("--public-url", metavar="URL", help="Where browsers reach it, if not at host and port.")
    ] = None,
    processes: Annotated[int, typer.Option("--processes", min=1, max=64, help="Processes to serve with (PostgreSQL).")] = 1,
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Settings of the service: TOML.")] = None,
) -> None:
    """Preference collection: serve it (no verb), or do one of the things below."""
    if context.invoked_subcommand is not None:
        return

    from truing.collect import serve as serving
    from truing.collect.config import ServiceConfig
    from truing.config import load

    shown = f"[{host}]" if ":" in host else host
    overrides = [f'public_url="{public_url or f"http://{shown}:{port}"}"'] if public_url or config is None else []
    settings = load(ServiceConfig, config, overrides)
    found = serving.place(folder, database, settings)
    link = serving.prepare(found)
    warning = serving.exposure(host, settings)
    if warning:
        typer.echo(f"note: {warning}", err=True)
    typer.echo(f"{settings.public_url}  (data in {found.folder}; stop with Ctrl-C)")
    if link:
        typer.echo(f"make the first administrator, once: {link}")
    serving.serve(found, host, port, processes)


def migrate(
    direction: Annotated[Literal["up", "down"], typer.Argument(help="up: to the newest schema. down: one step back.")],
    to: Annotated[str | None, typer.Option("--to", metavar="REVISION", help="Revision to go to; 'base' empties it.")] = None,
    database: Database = None,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Bring the database's schema up or down. Back it up first; stop the service before going down."""
    from truing.collect import migrate as migrations
    from truing.collect.database import open_engine

    engine = open_engine(_location(folder, database))
    try:
        before = migrations.current(engine)
        if direction == "up":
            migrations.upgrade(engine, to or "head")
        else:
            migrations.check_stopped(engine)
            migrations.downgrade(engine, to or "-1")
        typer.echo(f"schema {before or 'empty'} -> {migrations.current(engine) or 'empty'}")
    finally:
        engine.dispose()


def campaign(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help='The campaign\'s settings: TOML; `preset = "hh"` starts from one.')
    ],
    items: Annotated[
        Path | None,
        typer.Option("--items", metavar="FILE", help="Items to add: JSONL; a plain line is a prompt."),
    ] = None,
    guideline: Annotated[
        Path | None, typer.Option("--guideline", metavar="FILE", help="Markdown to publish as the guideline that FILE names.")
    ] = None,
    database: Database = None,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Make a campaign in the service's database, running or not."""
    from truing.collect.campaigns import make, resolved
    from truing.collect.database import open_database
    from truing.collect.new_items import read_items
    from truing.config import read_toml
    from truing.store.files import read_text

    settings = resolved(read_toml(file), str(file))
    rows = read_items(read_text(items).encode(), f"{items}, ") if items else []
    text = read_text(guideline) if guideline else None
    if database is None and not Path(_location(folder, database)).exists():
        typer.echo(f"note: {folder} holds no service yet; it is made (another place: --folder, --database)", err=True)
    opened = open_database(_location(folder, database))
    try:
        campaign_id = opened.write(lambda c: make(c, settings, rows, guideline=text, now=time.time()))
    finally:
        opened.close()
    typer.echo(f"campaign {campaign_id} ({settings.name}): {len(rows)} items, {settings.overlap} judgments each")


def backup(
    target: Annotated[Path, typer.Argument(metavar="FILE", help="The copy; it appears whole or not at all.")],
    database: Database = None,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Copy the SQLite database while the service runs."""
    from truing.collect.backup import backup as copy

    size_bytes = copy(_location(folder, database), target)
    typer.echo(f"{target}: {size_bytes / 1e6:.1f} MB. Keep {folder / 'service.key'} with it.")


def worker(
    policy: Annotated[list[str], typer.Option("--policy", metavar="NAME=MODEL", help="A policy to sample from. Repeatable.")],
    url: Url = LOCAL,
    temperature: Annotated[float, typer.Option("--temperature", min=0.0, help="0 = always the likeliest token.")] = 0.7,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1, help="Longest answer, in tokens.")] = 512,
    seed: Annotated[int, typer.Option("--seed", help="Equal seeds give equal answers to equal requests.")] = 0,
    recipe: RecipeFile = None,
    set_: Set = None,
) -> None:
    """Answer the live chats of a running service with policies of this machine (token: TRUING_COLLECT_TOKEN, scope replies)."""
    from truing.cli.output import print_text
    from truing.collect.client import Client
    from truing.program.replies import Policies, named, pause, serve
    from truing.program.single import load_recipe
    from truing.rollout.sampler import SamplingSettings

    models, settings = named(policy), SamplingSettings(temperature=temperature, max_new_tokens=max_new_tokens)
    resolved = load_recipe(recipe, set_ or [], {})
    with Client.from_environment(url) as client, closing(Policies(models, settings, seed, resolved)) as policies:
        print_text(f"answering for {', '.join(models)} at {url}; Ctrl-C ends it")
        serve(client, tuple(models), policies.respond, wait=pause)


def _location(folder: Path, database: str | None) -> str:
    from truing.collect.serve import DATABASE

    return database or str(folder / DATABASE)
