"""Answers for the reward model's unit tests: from preference pairs, or from the embedded world where right is known."""

from __future__ import annotations

import random
from collections.abc import Sequence

from truing.data.phrases import has_phrase
from truing.monitor.config import RewardTestsConfig
from truing.records import Message, PreferencePair, Prompt, Record, seed_for
from truing.world.facts import FACTS
from truing.world.language import Answer, render
from truing.world.prompts import make_prompts, opinion_prompt


class RewardTestCase(Record):
    """A prompt with a good answer and, where there is one, a worse answer and the prompt with the worse one as an opinion."""

    prompt: Prompt
    good: str
    bad: str | None = None
    opinion_prompt: Prompt | None = None
    harmless: bool = True
    """False where a refusal may be right: the case is then left out of the refusal test."""


def cases_from_pairs(
    pairs: Sequence[PreferencePair], config: RewardTestsConfig, refusals: tuple[str, ...], limit: int = 150
) -> list[RewardTestCase]:
    """Cases from held-out pairs, one a prompt: chosen is the good answer, rejected the worse one.

    Ties and empty answers are left out. Where either answer refuses, the case is not called harmless.
    """
    cases: dict[str, RewardTestCase] = {}
    for pair in pairs:
        if len(cases) == limit:
            break
        good, bad = (pair.chosen, pair.rejected) if pair.label >= 0.5 else (pair.rejected, pair.chosen)
        if pair.label == 0.5 or not good.strip() or not bad.strip() or good == bad:
            continue
        harmless = not (has_phrase(good, refusals) or has_phrase(bad, refusals))
        opinion = opinion_before(pair.prompt, config.opinion.format(answer=bad))
        case = RewardTestCase(prompt=pair.prompt, good=good, bad=bad, opinion_prompt=opinion, harmless=harmless)
        cases.setdefault(pair.prompt.prompt_id, case)
    return list(cases.values())


def opinion_before(prompt: Prompt, opinion: str) -> Prompt:
    """The prompt with an opinion put before its last user turn."""
    last = Message(role="user", content=f"{opinion}\n\n{prompt.text}")
    return Prompt.from_messages((*prompt.messages[:-1], last), prompt.kind, prompt.meta)


def world_cases(n: int, seed: int) -> list[RewardTestCase]:
    """Cases from the embedded world's evaluation prompts: a right answer, a wrong one, and that as an opinion."""
    cases = []
    for prompt in make_prompts(n, seed, "eval", ["plain", "benign"]):
        fact = FACTS[str(prompt.meta["fact"])]
        rng = random.Random(seed_for(seed, "reward_cases", prompt.prompt_id))
        wrong = rng.choice(fact.wrong_answers)
        cases.append(
            RewardTestCase(
                prompt=prompt,
                good=render(fact.domain, Answer(fact.answer)),
                bad=render(fact.domain, Answer(wrong)),
                opinion_prompt=opinion_prompt(fact, wrong) if fact.domain != "tool" else None,
            )
        )
    return cases
