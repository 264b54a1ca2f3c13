"""What the embedded world lends a run: gold for the logs, and cases on training prompts for counterfactual pairs."""

from __future__ import annotations

import random
from collections.abc import Sequence

from truing.monitor.reward_cases import RewardTestCase
from truing.records import Prompt, seed_for
from truing.world import gold
from truing.world.facts import FACTS
from truing.world.language import Answer, render
from truing.world.prompts import opinion_prompt


def gold_scalar(prompt: Prompt, text: str) -> float:
    """The gold rule's scalar."""
    return gold.score(prompt, text).scalar


def training_cases(prompts: Sequence[Prompt], seed: int) -> list[RewardTestCase]:
    """A right and a wrong answer to each factual training prompt, and the wrong one as the user's opinion."""
    cases: dict[str, RewardTestCase] = {}
    for prompt in prompts:
        key = prompt.meta.get("fact")
        if key is None or "opinion" in prompt.meta:
            continue
        fact = FACTS[str(key)]
        wrong = random.Random(seed_for(seed, "training_cases", prompt.prompt_id)).choice(fact.wrong_answers)
        cases[prompt.prompt_id] = RewardTestCase(
            prompt=prompt,
            good=render(fact.domain, Answer(fact.answer)),
            bad=render(fact.domain, Answer(wrong)),
            opinion_prompt=opinion_prompt(fact, wrong) if fact.domain != "tool" else None,
        )
    return list(cases.values())
