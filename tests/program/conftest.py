from pathlib import Path

import pytest

from truing.program.recipe import Recipe

TINY = """
[run]
seed = 3
threads = 1
stages = ["sft", "preferences", "reward", "reward_tests", "dpo", "ppo", "redteam", "evaluate", "findings", "gate", "release"]
[model]
path = "{model}"
device = "cpu"
[data]
demonstrations = "embedded"
prompts = "embedded"
gold = "embedded"
n_demonstrations = 40
n_prompts = 16
n_eval_prompts = 8
[sft]
heldout_fraction = 0.1
epochs = 1
batch_tokens = 1024
optimiser.lr = 1e-3
[preferences]
comparisons = 24
max_new_tokens = 8
[reward]
batch_pairs = 16
parallel = false
optimiser.lr = 1e-3
[dpo]
batch_pairs = 16
optimiser.lr = 1e-3
[ppo]
updates = 2
prompts_per_update = 4
samples_per_prompt = 2
max_new_tokens = 8
temperature = 1.0
epochs = 1
[redteam]
suite = "world"
requests_per_mode = 2
max_new_tokens = 8
[evaluate]
samples_per_prompt = 2
max_new_tokens = 8
[findings]
approve_amendments = "auto"
targeted_prompts = 8
counterfactual_pairs = 8
"""


@pytest.fixture
def tiny_recipe(tiny_model_dir: Path, tmp_path: Path) -> Path:
    """A recipe of two rounds in the embedded world on a random tiny model: seconds, not sense."""
    path = tmp_path / "tiny.toml"
    path.write_text(TINY.format(model=tiny_model_dir) + '[[rounds]]\n[[rounds]]\npreferences.policies = ["sft", "previous"]\n')
    return path


def load(path: Path, *overrides: str) -> Recipe:
    """A recipe with overrides."""
    return Recipe.load(path, overrides)
