"""Comparisons to be judged: two answers to a prompt, sampled from one policy or from two, and pairs that findings ask for.

truing preferences --model runs/mine/sft --prompts prompts.jsonl --out runs/mine
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import Field

from truing.config import Config
from truing.errors import TruingError
from truing.models.config import LoadSettings
from truing.program.speak import Speaker
from truing.records import Comparison, NullProgress, Progress, Prompt, content_hash, seed_for
from truing.rollout.config import EngineConfig
from truing.rollout.sampler import SamplingSettings
from truing.store.artifacts import Artifact, Store
from truing.store.files import write_records


class ComparisonsConfig(Config):
    """How many comparisons, and how their answers are sampled."""

    count: int = Field(ge=2)
    targeted_fraction: float = Field(default=0.25, ge=0, le=1)
    sampling: SamplingSettings = SamplingSettings(temperature=1.0)
    engine: EngineConfig = EngineConfig()
    seed: int = 0


@dataclass(frozen=True)
class ComparisonInputs:
    """What the stage reads: policies by label, prompts, and what the last round's findings ask to be judged."""

    policies: Mapping[str, str]
    """Label -> model."""
    prompts: Sequence[Prompt]
    parents: Mapping[str, str]
    targeted_prompts: Sequence[Prompt] = ()
    targeted_pairs: Sequence[Comparison] = ()
    load: LoadSettings | None = None
    chat_template: str | None = None


class Slot(NamedTuple):
    """A comparison whose answers are still to be written."""

    prompt: Prompt
    writers: tuple[str, str]
    source: str


def run(
    config: ComparisonsConfig,
    inputs: ComparisonInputs,
    store: Store,
    name: str,
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> Artifact:
    """Sample and publish `comparisons.jsonl`. Pairs of equal answers are left out and counted."""
    draft = store.begin("comparisons", name, config, inputs.parents, seeds={"comparisons": config.seed}, resume=resume)
    if isinstance(draft, Artifact):
        return draft
    slots, pairs = plan(config, inputs)
    sampled, notes = _write_answers(slots, config, inputs, progress or NullProgress())
    comparisons = list({c.comparison_id: c for c in [*sampled, *pairs] if c.first != c.second}.values())
    if len(comparisons) < 2:
        raise TruingError("the policies gave equal answers to every prompt: there is nothing to compare. Raise the temperature.")
    write_records(draft.path / "comparisons.jsonl", comparisons)
    return draft.publish(
        {
            "comparisons": len(comparisons),
            "targeted": sum(c.source.startswith("finding") for c in comparisons),
            "equal_or_repeated_left_out": len(slots) + len(pairs) - len(comparisons),
        },
        notes,
    )


def plan(config: ComparisonsConfig, inputs: ComparisonInputs) -> tuple[list[Slot], list[Comparison]]:
    """Who answers what: targeted pairs as they are, then targeted prompts, then prompts in general, each cycled through."""
    if not inputs.prompts:
        raise TruingError("there are no prompts to compare answers on")
    rng = random.Random(seed_for(config.seed, "plan"))
    targeted = round(config.count * config.targeted_fraction) if inputs.targeted_prompts or inputs.targeted_pairs else 0
    share = targeted // 2 if inputs.targeted_prompts else targeted
    pairs = rng.sample(list(inputs.targeted_pairs), min(share, len(inputs.targeted_pairs)))
    of_findings = _cycle(inputs.targeted_prompts, targeted - len(pairs), rng)
    general = _cycle(inputs.prompts, config.count - len(pairs) - len(of_findings), rng)
    labels = sorted(inputs.policies)
    slots = [Slot(p, (rng.choice(labels), rng.choice(labels)), "finding:prompt") for p in of_findings]
    slots += [Slot(p, (rng.choice(labels), rng.choice(labels)), "sampled") for p in general]
    return slots, pairs


def comparison(prompt: Prompt, first: str, second: str, policies: tuple[str, str], source: str) -> Comparison:
    """A comparison identified by its content."""
    key = content_hash([prompt.prompt_id, first, second])[:16]
    return Comparison(comparison_id=key, prompt=prompt, first=first, second=second, policies=policies, source=source)


def _cycle(prompts: Sequence[Prompt], n: int, rng: random.Random) -> list[Prompt]:
    """`n` prompts: whole passes over all of them, each in a new order."""
    drawn: list[Prompt] = []
    while prompts and len(drawn) < n:
        drawn += rng.sample(list(prompts), len(prompts))
    return drawn[:n]


def _write_answers(
    slots: Sequence[Slot], config: ComparisonsConfig, inputs: ComparisonInputs, progress: Progress
) -> tuple[list[Comparison], tuple[str, ...]]:
    """Every policy is loaded once and answers all its prompts, a prompt's answers with one prefill. Also what to note of it."""
    wanted = {label: _wanted(slots, label) for label in sorted(inputs.policies)}
    total = sum(n for counts in wanted.values() for n in counts.values())
    done = 0
    answers: dict[str, dict[str, list[str]]] = {}
    notes: list[str] = []
    for label, counts in wanted.items():
        answers[label] = defaultdict(list)
        if not counts:
            continue
        with closing(Speaker.load(inputs.policies[label], inputs.load, inputs.chat_template, config.engine)) as speaker:
            notes += [speaker.notice] if speaker.notice is not None else []
            for n in sorted(set(counts.values())):
                prompts = [prompt for prompt in _distinct(s.prompt for s in slots) if counts.get(prompt.prompt_id) == n]
                before = done

                def watch(finished: int, _: int, label: str = label, before: int = before) -> None:
                    progress.update(before + finished, total, {"policy": label})

                groups = speaker.answers(
                    [p.messages for p in prompts], n, config.sampling, seed_for(config.seed, "answers", label, n), watch
                )
                done += n * len(prompts)
                for prompt, group in zip(prompts, groups, strict=True):
                    answers[label][prompt.prompt_id] = [a.text for a in group]
    return [_filled(slot, answers) for slot in slots], tuple(notes)


def _filled(slot: Slot, answers: Mapping[str, Mapping[str, list[str]]]) -> Comparison:
    first, second = (answers[label][slot.prompt.prompt_id].pop() for label in slot.writers)
    return comparison(slot.prompt, first, second, slot.writers, slot.source)


def _wanted(slots: Sequence[Slot], label: str) -> dict[str, int]:
    """Prompt id -> how many answers this policy owes it."""
    counts: dict[str, int] = defaultdict(int)
    for slot in slots:
        owed = slot.writers.count(label)
        if owed:
            counts[slot.prompt.prompt_id] += owed
    return counts


def _distinct(prompts: Iterable[Prompt]) -> list[Prompt]:
    return list({p.prompt_id: p for p in prompts}.values())
