import subprocess
import sys

import pytest

from truing.config import apply_overrides, validate
from truing.errors import TruingError
from truing.train.config import DPOConfig, PPOConfig


def test_defaults_are_the_classic_recipe() -> None:
    config = PPOConfig()
    assert (config.optimiser.eps, config.clip, config.value_clip, config.value_coefficient) == (1e-5, 0.2, 0.2, 0.1)
    assert (config.gamma, config.lam, config.kl.beta, config.epochs, config.temperature) == (1.0, 0.95, 0.05, 4, 0.7)
    assert config.whiten_advantages


def test_overrides_reach_nested_settings_and_wrong_keys_name_the_nearest() -> None:
    config = validate(PPOConfig, apply_overrides({}, ["kl.beta=0.2", "optimiser.lr=1e-3"]), "--set")
    assert (config.kl.beta, config.optimiser.lr) == (0.2, 1e-3)
    with pytest.raises(TruingError, match="did you mean 'horizon'"):
        validate(PPOConfig, apply_overrides({}, ["kl.horizn=5"]), "--set")


def test_settings_that_make_no_sense_together_are_refused() -> None:
    with pytest.raises(TruingError, match="label_smoothing"):
        validate(DPOConfig, {"loss": "robust"}, "recipe")
    with pytest.raises(TruingError, match="minibatches"):
        validate(PPOConfig, {"prompts_per_update": 2, "minibatches": 3}, "recipe")


def test_settings_are_read_without_torch() -> None:
    code = "import sys, truing.train.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
