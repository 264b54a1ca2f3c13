"""A real kill -9, of a process that trains, at moments nobody chose; then the same command with resume."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from truing.store.artifacts import Store, read_artifact

SCRIPT = """
import sys
from pathlib import Path
from truing.store.artifacts import Store
from truing.train import {stage}
from truing.train.config import CheckpointConfig, OptimiserConfig, {config_class}
from truing.train.{stage} import {inputs_class}

model, preferences, root = map(Path, sys.argv[1:])
config = {config_class}(
    epochs=40, batch_pairs=4, optimiser=OptimiserConfig(lr=1e-3), checkpoint=CheckpointConfig(every_steps=5)
)
{stage}.run(config, {inputs_class}(model, preferences), Store(root), "out", resume=True)
"""
RL_SCRIPT = """
import sys
from pathlib import Path
from truing.records import Prompt
from truing.store.artifacts import Store
from truing.train import grpo
from truing.train.config import CheckpointConfig, GRPOConfig, OptimiserConfig
from truing.train.rl_inputs import RewardFunction, RLInputs

model, _, root = map(Path, sys.argv[1:])
shortness = RewardFunction("shortness", lambda prompts, texts: [-len(text) for text in texts])
config = GRPOConfig(
    updates=40, prompts_per_update=4, max_new_tokens=8, missing_end_penalty=None, minibatches=2,
    optimiser=OptimiserConfig(lr=1e-3), checkpoint=CheckpointConfig(every_steps=3)
)
prompts = [Prompt.from_text(f"what colour is the fox? {index}") for index in range(9)]
grpo.run(config, RLInputs(model, shortness, prompts), Store(root), "out", resume=True)
"""
STAGES = {
    "grpo": RL_SCRIPT,
    "dpo": SCRIPT.format(stage="dpo", config_class="DPOConfig", inputs_class="DPOInputs"),
    "reward": SCRIPT.format(stage="reward", config_class="RewardConfig", inputs_class="RewardInputs"),
}


@pytest.mark.slow
@pytest.mark.parametrize("stage", list(STAGES))
def test_kill_9_at_random_moments(stage: str, tiny_model_dir: Path, preferences_dir: Path, tmp_path: Path) -> None:
    def start(name: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", STAGES[stage], str(tiny_model_dir), str(preferences_dir), str(tmp_path / name)]
        return subprocess.Popen(command)

    began = time.monotonic()
    assert start("whole").wait() == 0
    wall_s = time.monotonic() - began
    draw = random.Random()
    for _ in range(10):
        process = start("killed")
        time.sleep(draw.uniform(0.3, 1.0) * wall_s)
        process.kill()
        process.wait()
    assert start("killed").wait() == 0
    whole, killed = (read_artifact(Store(tmp_path / name).root / "out") for name in ("whole", "killed"))
    assert killed.artifact_hash == whole.artifact_hash
