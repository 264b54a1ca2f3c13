"""W5, truing's side: updates of `truing ppo`, sampling included, on prompts as tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.ours import common, rl
from benchmarks.peers.serve import serve
from truing.models.reward import Normalisation, write_normalisation
from truing.train.config import KLConfig, PPOConfig
from truing.train.ppo import PPO


class Ours(rl.Side):
    only_ours = ("value.score.bias",)

    def __init__(self, job: dict[str, Any]) -> None:
        reward = Path(job["reward_member"]).parent
        write_normalisation(reward, Normalisation(mean=(0.0,), std=(1.0,)))
        config = PPOConfig(
            **rl.settings(job),
            value=job["value"],
            epochs=job["epochs"],
            kl=KLConfig(beta=job["beta"]),
            missing_end_penalty=None,
            value_optimiser=common.optimiser_config(job),
        )
        super().__init__(job, PPO, config, reward)


if __name__ == "__main__":
    serve(Ours)
