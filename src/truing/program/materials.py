"""What a run is made from: demonstrations, prompts, the guideline. Read from files, or made by the embedded world."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from truing.data.formats import read_demonstrations, read_pairs, read_prompts
from truing.data.lengths import fit_prompts
from truing.data.splits import group_of, split_by
from truing.errors import TruingError
from truing.models.load import load_tokenizer
from truing.program.bench import Bench
from truing.program.recipe import CHOSEN, EMBEDDED, RL_STAGES, SHIPPED, Recipe
from truing.records import Demonstration, Guideline, Message, PreferencePair, Prompt
from truing.store.files import read_records
from truing.world.demonstrations import make_demonstrations
from truing.world.prompts import make_prompts

RowT = TypeVar("RowT")
GUIDELINE = SHIPPED / "guideline.md"


def demonstrations(bench: Bench, preferences: Path | None) -> list[Demonstration]:
    """What SFT imitates. `preferences` is the frozen set whose preferred answers "chosen" means."""
    source, data = bench.recipe.data.demonstrations, bench.recipe.data
    if source == EMBEDDED:
        return make_demonstrations(data.n_demonstrations, bench.seed("demonstrations"))
    if source == CHOSEN:
        if preferences is None:
            raise TruingError(
                'data.demonstrations = "chosen" needs data.comparisons (--comparisons FILE), or start_from.preferences'
            )
        rows = [_imitating(pair) for pair in read_records(preferences / "train.jsonl", PreferencePair) if pair.chosen.strip()]
    elif source is None:
        raise TruingError(
            "stage 'sft' needs data.demonstrations (--demonstrations FILE): JSONL or Parquet; or leave 'sft' out of run.stages"
        )
    else:
        rows = read_demonstrations(Path(source))
    return _at_most(rows, data.max_rows, bench.seed("demonstrations"))


def train_prompts(bench: Bench, preferences: Path | None) -> list[Prompt]:
    """Prompts that policies are trained on and compared by raters on."""
    data = bench.recipe.data
    if data.prompts == EMBEDDED:
        return make_prompts(data.n_prompts, bench.seed("prompts"), "train")
    found, _ = _file_prompts(bench, preferences)
    return _at_most(_fitting(bench, found), data.n_prompts, bench.seed("prompts"))


def eval_prompts(bench: Bench, preferences: Path | None) -> list[Prompt]:
    """Held-out prompts, the same in every round."""
    data = bench.recipe.data
    if data.prompts == EMBEDDED:
        return make_prompts(data.n_eval_prompts, bench.seed("eval_prompts"), "eval")
    _, heldout = _file_prompts(bench, preferences)
    return _at_most(_fitting(bench, heldout), data.n_eval_prompts, bench.seed("eval_prompts"))


def first_guideline(bench: Bench) -> Guideline:
    """The guideline as the run starts with it: version 1."""
    source = bench.recipe.data.guideline
    path = GUIDELINE if source == EMBEDDED else Path(source)
    try:
        return Guideline(version=1, text=path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TruingError(f"{path}: no such file (data.guideline: a Markdown file, or 'embedded')") from None


def judged_pairs(bench: Bench) -> list[PreferencePair]:
    """People's judged pairs from data.comparisons."""
    source = bench.recipe.data.comparisons
    if source is None:
        raise TruingError("data.comparisons names no file of judged pairs (--comparisons FILE)")
    skipped: list[str] | None = [] if bench.recipe.data.bad_rows == "drop" else None
    pairs = read_pairs(Path(source), skipped=skipped)
    if skipped:
        bench.watch.say(f"{len(skipped)} rows of {source} cannot be used and are left out; the first: {skipped[0]}")
    return pairs


def _file_prompts(bench: Bench, preferences: Path | None) -> tuple[list[Prompt], list[Prompt]]:
    """(training, held-out) prompts: of the prompts file, or of the frozen preference set."""
    data = bench.recipe.data
    if data.prompts is not None:
        prompts = read_prompts(Path(data.prompts))
        parts = split_by(_distinct(prompts), group_of, data.heldout_fraction, bench.seed("heldout_prompts"))
        return parts.train, parts.heldout
    if preferences is None:
        raise TruingError("there are no prompts: give data.prompts (--prompts FILE) or data.comparisons (--comparisons FILE)")
    train, heldout = (read_records(preferences / f"{part}.jsonl", PreferencePair) for part in ("train", "heldout"))
    return _distinct([p.prompt for p in train]), _distinct([p.prompt for p in heldout])


def _fitting(bench: Bench, prompts: list[Prompt]) -> list[Prompt]:
    """The prompts that leave room for an answer in the model's context, where the recipe says that others may be dropped."""
    if bench.recipe.data.too_long == "error":
        return prompts
    tokenizer = load_tokenizer(bench.base, bench.chat_template, trust_remote_code=bench.load.trust_remote_code)
    recipe = bench.recipe
    answer = max(*_rl_lengths(recipe), recipe.evaluate.max_new_tokens, recipe.preferences.max_new_tokens)
    fitted = fit_prompts(tokenizer, prompts, context_length(bench) - answer, "drop")
    if len(fitted.kept) < len(prompts):
        bench.watch.say(f"{len(prompts) - len(fitted.kept)} of {len(prompts)} prompts leave no room for an answer: left out")
    return [prompts[index] for index in fitted.kept]


def _rl_lengths(recipe: Recipe) -> list[int]:
    """Longest completions that the run's RL stages draw; PPO's where it has none, as a stage that runs alone."""
    return [getattr(recipe, stage).max_new_tokens for stage in RL_STAGES if recipe.does(stage)] or [recipe.ppo.max_new_tokens]


def context_length(bench: Bench) -> int:
    """Tokens that the model's context holds."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(bench.base, trust_remote_code=bench.load.trust_remote_code)
    return int(getattr(config, "max_position_embeddings", 1 << 30))


def _imitating(pair: PreferencePair) -> Demonstration:
    return Demonstration(messages=(*pair.prompt.messages, Message(role="assistant", content=pair.chosen)))


def _at_most(rows: list[RowT], n: int | None, seed: int) -> list[RowT]:
    return rows if n is None or len(rows) <= n else random.Random(seed).sample(rows, n)


def _distinct(prompts: Sequence[Prompt]) -> list[Prompt]:
    return list({p.prompt_id: p for p in prompts}.values())
