"""A toy policy with known rewards: answers hold facts of their prompt and, where asked for, stock filler."""

from collections.abc import Callable

import numpy as np
import pytest

from truing.records import Ending, Prompt, Rollout

FILLER = ("i hope this helps you.", "please let me know.", "there is much more to say.", "it is a nice thing to ask.")
Update = Callable[..., list[Rollout]]


def make_update(
    rng: np.random.Generator,
    update: int,
    *,
    pay_content: float = 0.0,
    pay_filler: float = 0.0,
    filler: float = 1.0,
    content: float = 3.0,
    prompts: int = 32,
    samples: int = 3,
    members: int = 2,
) -> list[Rollout]:
    """One update's rollouts: proxy = pay_content * facts + pay_filler * filler sentences + noise."""
    rollouts = []
    for group in range(prompts):
        number = int(rng.integers(0, 400))
        prompt = Prompt.from_text(f"what is thing {number}?")
        level = rng.normal()
        for _ in range(samples):
            facts, padding = int(rng.poisson(content)), int(rng.poisson(filler))
            said = [f"fact{number}x{k} thing{number}x{k}" for k in rng.integers(0, 12, facts)] + ["so it is."]
            text = " ".join(said + [FILLER[i] for i in rng.integers(0, len(FILLER), padding)])
            truth = level + pay_content * facts + pay_filler * padding + rng.normal()
            scores = tuple(float(truth + 0.2 * rng.normal()) for _ in range(members))
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
                    kl_nats=float(0.1 * update + rng.normal()),
                    gold=float(rng.normal()),
                )
            )
    return rollouts


@pytest.fixture
def update_of() -> Update:
    return make_update
