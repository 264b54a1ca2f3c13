"""Verbs that let one model speak: sample and chat."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from truing.cli.options import AsJson, RecipeFile, Set

if TYPE_CHECKING:
    from truing.program.speak import Speaker

ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="Model folder, artifact, hub id, or 'embedded'.")]
Temperature = Annotated[float, typer.Option("--temperature", min=0.0, help="0 = always the likeliest token.")]
TopP = Annotated[float, typer.Option("--top-p", help="Draw from the smallest set of tokens with at least this probability.")]
TopK = Annotated[int | None, typer.Option("--top-k", min=1, help="Draw from this many likeliest tokens.")]
MinP = Annotated[float, typer.Option("--min-p", help="Draw from tokens at least this fraction as likely as the likeliest.")]
Stop = Annotated[list[str] | None, typer.Option("--stop", help="Text that ends an answer. Repeatable.")]
MaxTokens = Annotated[int, typer.Option("--max-new-tokens", min=1, help="Longest answer, in tokens.")]
Seed = Annotated[int, typer.Option("--seed", help="Equal seeds give equal answers.")]


def sample(
    model: ModelArgument,
    prompt: Annotated[list[str], typer.Option("--prompt", help="What to ask. Repeatable.")],
    n: Annotated[int, typer.Option("-n", min=1, help="Answers to each prompt.")] = 1,
    temperature: Temperature = 0.7,
    top_p: TopP = 1.0,
    top_k: TopK = None,
    min_p: MinP = 0.0,
    stop: Stop = None,
    max_new_tokens: MaxTokens = 128,
    seed: Seed = 0,
    recipe: RecipeFile = None,
    set_: Set = None,
    json: AsJson = False,
) -> None:
    """Print a model's answers to prompts, as they are drawn."""
    from truing.cli.output import print_answers, print_answers_as_drawn, print_notice
    from truing.records import Message

    settings = _settings(temperature, top_p, top_k, min_p, stop, max_new_tokens)
    conversations = [(Message(role="user", content=text),) for text in prompt]
    with closing(_speaker(model, recipe, set_)) as speaker:
        print_notice(speaker.notice)
        if json:
            groups = speaker.answers(conversations, n, settings, seed)
            print_answers(prompt, [[answer.text for answer in group] for group in groups])
        else:
            print_answers_as_drawn(prompt, speaker.stream(conversations, n, settings, seed))


def chat(
    model: ModelArgument,
    temperature: Temperature = 0.7,
    top_p: TopP = 1.0,
    top_k: TopK = None,
    min_p: MinP = 0.0,
    stop: Stop = None,
    max_new_tokens: MaxTokens = 128,
    seed: Seed = 0,
    recipe: RecipeFile = None,
    set_: Set = None,
) -> None:
    """Talk with a model. An empty line or Ctrl-D ends the conversation."""
    from truing.cli.output import print_notice, print_pieces
    from truing.program.speak import Conversation

    settings = _settings(temperature, top_p, top_k, min_p, stop, max_new_tokens)
    with closing(_speaker(model, recipe, set_)) as speaker:
        print_notice(speaker.notice)
        conversation = Conversation(speaker, settings, seed)
        while line := _read_line():
            print_pieces(conversation.say(line))


def _speaker(model: str, recipe: str | None, overrides: list[str] | None) -> Speaker:
    from truing.program.single import load_recipe
    from truing.program.speak import Speaker

    return Speaker.of(model, load_recipe(recipe, overrides or [], {}))


def _settings(
    temperature: float, top_p: float, top_k: int | None, min_p: float, stop: list[str] | None, max_new_tokens: int
) -> Any:
    from truing.config import validate
    from truing.rollout.sampler import SamplingSettings

    values = {"temperature": temperature, "top_p": top_p, "top_k": top_k, "min_p": min_p}
    return validate(SamplingSettings, {**values, "stop": stop or [], "max_new_tokens": max_new_tokens}, "options")


def _read_line() -> str:
    try:
        return input("> ").strip()
    except EOFError:
        return ""
