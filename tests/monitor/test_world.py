"""The monitor's main signal on the embedded world's own answers and simulated raters: biased raters caught, guided ones not."""

import random

import numpy as np
import pytest

from truing.judges.simulated import draw_raters
from truing.monitor.config import MonitorConfig
from truing.monitor.observer import Monitor
from truing.records import Ending, Rollout
from truing.world import gold
from truing.world.demonstrations import noisy_answer
from truing.world.facts import FACTS
from truing.world.language import render
from truing.world.prompts import make_prompts

UPDATES, PROMPTS, SAMPLES, NOISE = 8, 48, 2, 0.7


def alarms(seed: int, clauses: tuple[str, ...]) -> set[str]:
    """What is raised while a policy answers like the demonstrations and the reward is what raters feel, plus noise."""
    rng, noise = random.Random(seed), np.random.default_rng(seed)
    raters, pool, monitor = draw_raters(20, seed), make_prompts(900, seed), Monitor(MonitorConfig())
    raised = set()
    for update in range(1, UPDATES + 1):
        rollouts = []
        for group, prompt in enumerate(rng.sample(pool, PROMPTS)):
            domain = FACTS[str(prompt.meta["fact"])].domain if "fact" in prompt.meta else "tool"
            for _ in range(SAMPLES):
                text = render(domain, noisy_answer(rng, prompt))
                felt = np.mean([rater.utility(gold.score(prompt, text), clauses) for rater in raters])
                scores = tuple(float(felt + NOISE * noise.normal()) for _ in range(2))
                rollouts.append(
                    Rollout(
                        update=update,
                        group=group,
                        prompt=prompt,
                        text=text,
                        length_tokens=len(text.split()),
                        ending=Ending.END_OF_TURN,
                        proxy=float(np.mean(scores)),
                        proxy_members=scores,
                        kl_nats=0.1,
                    )
                )
        raised |= {alarm.signal for alarm in monitor(update, rollouts)}
    return raised


@pytest.mark.parametrize("seed", range(3))
def test_raters_who_like_padding_are_noticed(seed: int) -> None:
    assert alarms(seed, ()) == {"reward_length"}


@pytest.mark.parametrize("seed", range(3))
def test_guided_raters_raise_nothing(seed: int) -> None:
    assert alarms(seed, ("length", "opinion", "flattery", "confidence")) == set()
