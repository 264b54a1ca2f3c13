"""W4, truing's side: updates of `truing grpo` and `truing rloo`, sampling included, on prompts as tokens."""

from __future__ import annotations

from typing import Any

from benchmarks.ours import rl
from benchmarks.peers.serve import serve
from truing.train.config import GRPOConfig, KLConfig, RLOOConfig
from truing.train.grpo import GRPO
from truing.train.rl_inputs import RewardFunction
from truing.train.rloo import RLOO


def even_words(_: Any, texts: Any) -> list[float]:
    """The share of words with an even number."""
    words = [text.split() for text in texts]
    return [sum(word[-1] in "02468" for word in some) / max(1, len(some)) for some in words]


class Ours(rl.Side):
    def __init__(self, job: dict[str, Any]) -> None:
        learner, config = {"grpo": (GRPO, GRPOConfig), "rloo": (RLOO, RLOOConfig)}[job["algorithm"]]
        settings = rl.settings(job) | {"kl": KLConfig(beta=job["beta"]), "missing_end_penalty": None}
        super().__init__(job, learner, config(**settings), RewardFunction("even words", even_words))


if __name__ == "__main__":
    serve(Ours)
