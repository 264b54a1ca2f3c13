"""Settings of the training stages. Torch-free; every default is the vetted recipe for a model of a few billion parameters."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from truing.config import Config
from truing.models.config import HeadInit, LoadSettings
from truing.rollout.config import EngineConfig


class OptimiserConfig(Config):
    """AdamW, its learning-rate schedule and gradient clipping."""

    lr: float = Field(default=1e-5, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = Field(default=1e-5, gt=0)
    """1e-5, as in the classic RLHF runs; larger than PyTorch's default."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Applied to matrices only, not to norms and biases."""
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    """Linear and cosine fall to zero at the last step."""
    warmup_fraction: float = Field(default=0.03, ge=0, lt=1)
    max_grad_norm: float = Field(default=1.0, gt=0)


class CheckpointConfig(Config):
    """How often resumable state is written: whichever comes first."""

    every_s: float = Field(default=60.0, ge=0)
    every_steps: int | None = Field(default=None, ge=1)


class LoggingConfig(Config):
    """`metrics.jsonl` is always written; TensorBoard event files where asked for (extra: `truing[tensorboard]`)."""

    tensorboard: bool = False


class StageConfig(Config):
    """What every training stage has."""

    seed: int = 0
    load: LoadSettings = LoadSettings()
    chat_template: str | None = None
    """Jinja text that takes the place of the tokenizer's own template."""
    too_long: Literal["error", "drop", "truncate_left"] = "error"
    """What happens to a row longer than `max_tokens`."""
    max_tokens: int | None = Field(default=None, ge=2)
    """Longest sequence trained on; by default what the model's context holds."""
    micro_batch_tokens: int = Field(default=4096, ge=1)
    """Tokens in one forward pass. Bounds memory and leaves the gradient as it is."""
    share_prompts: bool = True
    """Run a prompt once for all its answers, forward and backward. Off, each answer brings its own copy: same result, slower."""
    checkpoint: CheckpointConfig = CheckpointConfig()
    logging: LoggingConfig = LoggingConfig()


class SFTConfig(StageConfig):
    """Supervised fine-tuning on demonstrations."""

    epochs: int = Field(default=3, ge=1)
    batch_tokens: int = Field(default=16384, ge=1)
    """Tokens an optimiser step, prompts counted."""
    heldout_fraction: float = Field(default=0.05, gt=0, lt=1)
    optimiser: OptimiserConfig = OptimiserConfig(lr=2e-5)


class RewardConfig(StageConfig):
    """Bradley-Terry reward model, an ensemble."""

    members: int = Field(default=2, ge=1)
    epochs: int = Field(default=1, ge=1)
    batch_pairs: int = Field(default=64, ge=1)
    """Comparisons an optimiser step. A ranking that is kept together counts as one."""
    rankings: Literal["together", "apart"] = "together"
    """The pairs of one ranking: together, they are one comparison, each answer is run once, and a pair weighs one over their
    number (InstructGPT); apart, each is a comparison of its own."""
    center_coefficient: float = Field(default=0.01, ge=0)
    head_init: HeadInit = "normal"
    """`normal` has standard deviation 1 / sqrt(hidden + 1), drawn anew for each member."""
    optimiser: OptimiserConfig = OptimiserConfig(lr=1e-5)
    parallel: bool = True
    """On a CPU, train members in processes of their own."""


class DPOConfig(StageConfig):
    """Direct preference optimisation and its kin."""

    loss: Literal["dpo", "robust", "hinge", "ipo"] = "dpo"
    beta: float = Field(default=0.1, gt=0)
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """The assumed rate of flipped labels: makes `dpo` cDPO, and is what `robust` undoes."""
    reference: Literal["cached", "live"] = "cached"
    """What the policy as it starts says of each pair: computed once and kept on disk for other runs, or anew at every step."""
    epochs: int = Field(default=1, ge=1)
    batch_pairs: int = Field(default=64, ge=1)
    """Comparisons an optimiser step. A ranking that is kept together counts as one."""
    rankings: Literal["together", "apart"] = "together"
    """The pairs of one ranking: together, they are one comparison, each answer is run once, and a pair weighs one over their
    number (InstructGPT); apart, each is a comparison of its own."""
    optimiser: OptimiserConfig = OptimiserConfig(lr=5e-7, schedule="linear", warmup_fraction=0.1)

    @model_validator(mode="after")
    def _robust_needs_a_rate(self) -> Self:
        if self.loss == "robust" and self.label_smoothing == 0:
            raise ValueError("loss = 'robust' undoes flips at the rate label_smoothing: set it above 0, or use loss = 'dpo'")
        return self


class KLConfig(Config):
    """The tether to the reference: coefficient of the per-token penalty, fixed or adaptive."""

    beta: float = Field(default=0.05, ge=0)
    adaptive: bool = False
    target_nats: float = Field(default=6.0, gt=0)
    """KL a completion that the adaptive coefficient steers to."""
    horizon: int = Field(default=10_000, ge=1)
    """Episodes over which the adaptive coefficient moves."""
    raise_factor: float = Field(default=2.0, gt=1)
    """What an alarm whose action is `raise_beta` multiplies beta by."""


class RLConfig(StageConfig):
    """What every algorithm has that samples from its policy. An update: sample, score, `epochs` x `minibatches` steps."""

    updates: int = Field(default=200, ge=1)
    prompts_per_update: int = Field(default=128, ge=1)
    samples_per_prompt: int = Field(default=1, ge=1)
    max_new_tokens: int = Field(default=128, ge=1)
    temperature: float = Field(default=0.7, gt=0)
    """Of sampling and of every log-probability. Top-p and top-k are not offered: they would make log-probabilities wrong."""
    sample_batch: int = Field(default=128, ge=1)
    """Completions under way at once. Bounds memory; what is drawn does not depend on it."""
    engine: EngineConfig = EngineConfig()
    """In a recipe, by default the run's `[engine]`."""
    epochs: int = Field(default=1, ge=1)
    """Passes over an update's episodes."""
    minibatches: int = Field(default=1, ge=1)
    """Optimiser steps an epoch. Episodes are dealt to them once an update, a prompt's together; each epoch has its own order."""
    clip: float = Field(default=0.2, gt=0)
    missing_end_penalty: float | None = -1.0
    """Takes the place of the reward where a completion has no end token; in standard deviations of the reward model. None = the
    reward stands."""
    kl: KLConfig = KLConfig()
    behaviour_logprobs: Literal["auto", "sampler", "trainer"] = "auto"
    """Whose log-probabilities the ratio is taken to. auto: the sampler's while the last update measured them exact, which saves
    scoring every token by the policy; else the trainer's."""
    exact_nats: float = Field(default=2e-5, gt=0)
    """Largest |sampler - trainer| log-probability of any token that counts as exact."""
    max_mismatch_nats: float = Field(default=0.05, gt=0)
    """Largest mean |sampler - trainer| log-probability a token before the run is stopped as broken."""
    importance_cap: float | None = Field(default=None, ge=1)
    """Where sampler and trainer differ, multiply each loss by min(pi_trainer / pi_sampler, this) (truncated importance sampling)
    in place of stopping; 2 is usual."""
    ptx_coefficient: float = Field(default=0.0, ge=0)
    """Weight of the loss on demonstrations mixed into each step (PPO-ptx); 0 = none."""
    ptx_tokens: int = Field(default=2048, ge=1)
    """Demonstration tokens a step, where they are mixed in."""
    keep_best: bool = False
    """Keep `best/` though no alarm stopped the run: the weights of the last update that raised no alarm."""
    optimiser: OptimiserConfig = OptimiserConfig(lr=1e-6, schedule="constant")

    @property
    def episodes(self) -> int:
        """Completions an update."""
        return self.prompts_per_update * self.samples_per_prompt

    @property
    def optimiser_steps(self) -> int:
        """Of the whole run."""
        return self.updates * self.epochs * self.minibatches

    @property
    def needs_reference(self) -> bool:
        """Whether a tether is to be measured: without one, no reference is kept and no KL logged."""
        return self.kl.beta > 0 or self.kl.adaptive

    @model_validator(mode="after")
    def _minibatches_have_episodes(self) -> Self:
        if self.minibatches > self.episodes:
            raise ValueError(f"minibatches = {self.minibatches} is more than the {self.episodes} episodes of an update")
        return self

    @model_validator(mode="after")
    def _correction_needs_the_trainer(self) -> Self:
        if self.importance_cap is not None and self.behaviour_logprobs == "sampler":
            raise ValueError("importance_cap corrects the sampler by the trainer: set behaviour_logprobs to auto or trainer")
        return self


class PPOConfig(RLConfig):
    """Proximal policy optimisation against a reward model."""

    epochs: int = Field(default=4, ge=1)
    value: Literal["separate", "shared_trunk"] = "separate"
    """The value model: a network of its own, started from reward member 0, or a linear head on the policy's last hidden states,
    started at zero: one forward pass for both, one optimiser, about half the arithmetic; another model, not a faster same one."""
    gamma: float = Field(default=1.0, gt=0, le=1)
    lam: float = Field(default=0.95, ge=0, le=1)
    value_clip: float = Field(default=0.2, gt=0)
    value_coefficient: float = Field(default=0.1, gt=0)
    whiten_advantages: bool = True
    value_optimiser: OptimiserConfig = OptimiserConfig(lr=5e-6, schedule="constant")
    """Of a separate value model."""


class GRPOConfig(RLConfig):
    """Group relative policy optimisation: a prompt's other samples are the baseline, and there is no value model."""

    prompts_per_update: int = Field(default=32, ge=1)
    samples_per_prompt: int = Field(default=8, ge=2)
    kl: KLConfig = KLConfig(beta=0.04)
    """The tether, in the loss. With beta = 0 there is no reference model."""
    scale_rewards: Literal["group", "batch", "none"] = "group"
    """The standard deviation that advantages are divided by: the prompt's samples', all rewards', or none (Dr. GRPO)."""
    loss_type: Literal["dapo", "grpo", "dr_grpo"] = "dapo"
    """What a token weighs: all alike; all episodes alike; or a sum over tokens by the longest length allowed."""
    kl_loss: Literal["k3_weighted", "k2", "k3"] = "k3_weighted"
    """The estimate of the KL divergence that is differentiated. k3 alone, as first published, has a biased gradient."""


class RLOOConfig(RLConfig):
    """REINFORCE leave-one-out: a completion is one action, the mean of the prompt's other samples its baseline."""

    prompts_per_update: int = Field(default=64, ge=1)
    samples_per_prompt: int = Field(default=4, ge=2)
    kl: KLConfig = KLConfig(beta=0.05)
    """The tether, k1 in the reward. With beta = 0 there is no reference model."""
    normalise_advantages: bool = False
    """Whiten advantages over the update."""
