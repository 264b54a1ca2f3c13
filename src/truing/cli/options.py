"""Options that several verbs share, spelled once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a recipe setting, for example ppo.kl.beta=0.05. Repeatable."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where an interrupted run stopped.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout; progress goes to stderr.")]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder to write to (default: the recipe's run.out).")]
RecipeFile = Annotated[
    str | None, typer.Option("--recipe", metavar="FILE", help="Recipe whose settings to use, or a shipped one's name.")
]
PreferenceSet = Annotated[
    str | None, typer.Option("--preferences", metavar="DIR", help="A finished preference set, or a judgment set.")
]
Root = Annotated[Path | None, typer.Option("--root", metavar="DIR", help="The run's folder (default: found from the artifact).")]
Round = Annotated[int | None, typer.Option("--round", min=1, help="Round to look at (default: the last one).")]
Model = Annotated[str | None, typer.Option("--model", metavar="MODEL", help="Model folder, artifact, hub id, or 'embedded'.")]
Demonstrations = Annotated[
    str | None, typer.Option("--demonstrations", metavar="FILE", help="Chats to imitate: JSONL or Parquet.")
]
Comparisons = Annotated[
    str | None, typer.Option("--comparisons", metavar="FILE|DIR", help="Judged pairs (JSONL, Parquet), or a judgment set.")
]
Prompts = Annotated[str | None, typer.Option("--prompts", metavar="FILE", help="Prompts: JSONL or Parquet.")]
WithoutGuideline = Annotated[
    list[str] | None,
    typer.Option("--without-guideline", metavar="VERSION|HASH", help="Leave out judgments made under it. Repeatable."),
]
WithoutRater = Annotated[
    list[str] | None,
    typer.Option("--without-rater", metavar="PSEUDONYM", help="Leave out this rater's judgments. Repeatable."),
]
Labels = Annotated[
    str | None, typer.Option("--labels", metavar="HOW", help="Judgments to labels: majority, dawid_skene or rater_model.")
]
RewardModel = Annotated[str | None, typer.Option("--reward", metavar="DIR", help="A finished reward-model artifact.")]
Url = Annotated[str, typer.Option("--url", metavar="URL", help="Where the service listens.")]
LOCAL = "http://127.0.0.1:8000"
