"""Verbs that let one model speak: sample and chat."""

from __future__ import annotations

from typing import Annotated

import typer

from truing.cli.options import AsJson

ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="Model folder, artifact, hub id, or 'embedded'.")]
Temperature = Annotated[float, typer.Option("--temperature", min=0.0, help="0 = always the likeliest token.")]
MaxTokens = Annotated[int, typer.Option("--max-new-tokens", min=1, help="Longest answer, in tokens.")]
Seed = Annotated[int, typer.Option("--seed", help="Equal seeds give equal answers.")]


def sample(
    model: ModelArgument,
    prompt: Annotated[list[str], typer.Option("--prompt", help="What to ask. Repeatable.")],
    n: Annotated[int, typer.Option("-n", min=1, help="Answers to each prompt.")] = 1,
    temperature: Temperature = 0.7,
    max_new_tokens: MaxTokens = 128,
    seed: Seed = 0,
    json: AsJson = False,
) -> None:
    """Print a model's answers to prompts."""
    from truing.cli.output import print_answers
    from truing.program.speak import answer

    answers = answer(model, prompt, n, temperature=temperature, max_new_tokens=max_new_tokens, seed=seed)
    print_answers(prompt, answers, as_json=json)


def chat(
    model: ModelArgument,
    temperature: Temperature = 0.7,
    max_new_tokens: MaxTokens = 128,
    seed: Seed = 0,
) -> None:
    """Talk with a model. An empty line or Ctrl-D ends the conversation."""
    from truing.cli.output import print_text
    from truing.program.speak import Conversation

    conversation = Conversation.open(model, temperature=temperature, max_new_tokens=max_new_tokens, seed=seed)
    while line := _read_line():
        print_text(conversation.say(line))


def _read_line() -> str:
    try:
        return input("> ").strip()
    except EOFError:
        return ""
