"""The command line: verbs, and the one place where errors become messages and exit codes.

0 = done; 1 = the gate holds a release back; 2 = something the user can mend (one message, no traceback); 130 = Ctrl-C.
Nothing heavy is imported before a verb needs it.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperGroup

from truing.cli import exchange, inspection, loop, selecting, service, stages, talk, workforce
from truing.cli.exits import EXIT_INTERRUPTED, EXIT_MENDABLE
from truing.errors import TruingError


class VerbGroup(TyperGroup):
    """Runs a verb; turns what a user can mend into a message."""

    def invoke(self, ctx: Any) -> Any:
        """Call the verb. TruingError, a full disk and Ctrl-C end with a message; anything else is a bug and propagates."""
        try:
            return super().invoke(ctx)
        except TruingError as error:
            message, code = f"truing: {error}", EXIT_MENDABLE
        except KeyboardInterrupt:
            message, code = "truing: stopped. What was done is kept: go on with the same command and --resume", EXIT_INTERRUPTED
        except OSError as error:
            message, code = _disk_message(error), EXIT_MENDABLE
        print(message, file=sys.stderr, flush=True)
        raise typer.Exit(code)


def _disk_message(error: OSError) -> str:
    """What to do about an operating-system error that belongs to the user's machine. Re-raises any other."""
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"truing: {where}the disk is full. Free some space, then run the same command with --resume"
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return f"truing: {where}not allowed ({error.strerror}). Choose a folder you may write to"
    raise error


app = typer.Typer(
    cls=VerbGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="The whole RLHF loop: demonstrations, preferences, reward model, RL or DPO, red team, monitor, gate, and round again.",
)


VERBS: tuple[tuple[str, Callable[..., None]], ...] = (
    ("quickstart", loop.quickstart),
    ("run", loop.run),
    ("sft", stages.sft),
    ("preferences", stages.preferences),
    ("reward", stages.reward),
    ("dpo", stages.dpo),
    ("ppo", stages.ppo),
    ("grpo", stages.grpo),
    ("rloo", stages.rloo),
    ("redteam", stages.redteam),
    ("evaluate", stages.evaluate),
    ("select", selecting.select),
    ("raters", workforce.raters),
    ("leaderboard", workforce.leaderboard),
    ("gate", loop.gate),
    ("amend", loop.amend),
    ("report", inspection.report),
    ("lineage", inspection.lineage),
    ("status", inspection.status),
    ("convert", exchange.convert),
    ("sample", talk.sample),
    ("chat", talk.chat),
)
"""Every verb, in the order that `--help` lists them."""

COLLECT_VERBS: tuple[tuple[str, Callable[..., None]], ...] = (
    ("campaign", service.campaign),
    ("migrate", service.migrate),
    ("backup", service.backup),
    ("import", exchange.import_file),
    ("export", exchange.export),
    ("worker", service.worker),
)
"""Verbs of `truing collect`."""

collect = typer.Typer(rich_markup_mode=None)
collect.callback(invoke_without_command=True)(service.serve)

for _name, _verb in VERBS:
    app.command(_name)(_verb)
for _name, _verb in COLLECT_VERBS:
    collect.command(_name)(_verb)
app.add_typer(collect, name="collect")


def main() -> None:
    """Entry point of the `truing` command."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    app(prog_name="truing")
