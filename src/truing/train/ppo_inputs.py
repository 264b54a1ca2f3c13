"""What PPO reads before its first update: five kinds of model, prompts in a fixed order, demonstrations to mix in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from truing.data.formats import read_demonstrations, read_prompts
from truing.data.lengths import fit_prompts
from truing.errors import TruingError
from truing.losses.masked import LossOutput
from truing.models.load import load_policy, load_scorer, load_tokenizer
from truing.models.reward import Normalisation, RewardEnsemble, member_directory
from truing.models.template import require_template
from truing.records import Demonstration, Prompt, seed_for
from truing.train.config import PPOConfig
from truing.train.examples import Example, demonstration_examples, longest_allowed, shuffled
from truing.train.session import parent_hash, ready_to_train
from truing.train.sft import losses as sft_losses


@dataclass(frozen=True)
class PPOInputs:
    """A policy (folder, artifact or hub id), a reward artifact, prompts, and demonstrations where PPO-ptx mixes them in."""

    policy: str | Path
    reward: Path
    prompts: str | Path | Sequence[Prompt]
    demonstrations: str | Path | Sequence[Demonstration] | None = None
    watched_by: str | None = None
    """Content hash of the observer's settings, where its alarms can act: other settings are other work."""

    def parents(self) -> dict[str, str]:
        """Content hashes of what goes in."""
        given = {"policy": self.policy, "reward": self.reward, "prompts": self.prompts, "demonstrations": self.demonstrations}
        parents = {role: parent_hash(source) for role, source in given.items() if source is not None}
        return parents | ({"observer": self.watched_by} if self.watched_by else {})


@dataclass(frozen=True)
class Models:
    """Who takes part. Only `policy` and `value` are trained."""

    policy: PreTrainedModel
    reference: PreTrainedModel
    value: PreTrainedModel
    reward: RewardEnsemble
    tokenizer: PreTrainedTokenizerBase


class PromptBatch(NamedTuple):
    """An update's prompts, and as tokens."""

    prompts: list[Prompt]
    tokens: list[list[int]]


@dataclass(frozen=True)
class PPOData:
    """Prompts and demonstrations that fit the context. What an update draws depends on the seed and its number alone."""

    prompts: list[Prompt]
    prompts_tokens: list[list[int]]
    demonstrations: list[Example]
    prompts_dropped: int
    config: PPOConfig

    def batch(self, update: int) -> PromptBatch:
        """The prompts of `update` (from 1): passes over all of them, each in an order of its own."""
        size, n = self.config.prompts_per_update, len(self.prompts)
        places = range((update - 1) * size, update * size)
        orders = {epoch: shuffled(n, seed_for(self.config.seed, "ppo", "prompts", epoch)) for epoch in {p // n for p in places}}
        rows = [orders[place // n][place % n] for place in places]
        return PromptBatch([self.prompts[row] for row in rows], [self.prompts_tokens[row] for row in rows])

    def demonstration_losses(self, policy: PreTrainedModel, step: int) -> Iterator[LossOutput]:
        """The loss on demonstrations that PPO-ptx adds to optimiser step `step` (Ouyang et al. 2022, eq. 2); none where off."""
        config = self.config
        if config.ptx_coefficient == 0:
            return
        some: list[Example] = []
        for row in shuffled(len(self.demonstrations), seed_for(config.seed, "ppo", "ptx", step)):
            some.append(self.demonstrations[row])
            if sum(len(example.tokens) for example in some) >= config.ptx_tokens:
                break
        for output in sft_losses(policy, some, config.micro_batch_tokens):
            yield LossOutput(config.ptx_coefficient * output.loss, {"ptx_loss": output.loss})


def load_models(config: PPOConfig, inputs: PPOInputs) -> Models:
    """Load everyone. Raises TruingError where policy and reward model read different tokens."""
    tokenizer = load_tokenizer(inputs.policy, config.chat_template, trust_remote_code=config.load.trust_remote_code)
    require_template(tokenizer)
    reward = RewardEnsemble.load(inputs.reward, config.load)
    if tokenizer.get_vocab() != reward.tokenizer.get_vocab():
        raise TruingError(
            f"{inputs.reward}: the reward model's tokenizer is not the policy's ({inputs.policy}), and PPO scores the very "
            "tokens that were sampled. Train the reward model from the same model family."
        )
    return Models(
        policy=ready_to_train(load_policy(inputs.policy, config.load)),
        reference=load_policy(inputs.policy, config.load).requires_grad_(False),
        value=ready_to_train(_value_model(inputs.reward, reward.normalisation, config)),
        reward=reward,
        tokenizer=tokenizer,
    )


def _value_model(folder: Path, normalisation: Normalisation, config: PPOConfig) -> PreTrainedModel:
    """Reward member 0 with its normalisation folded into its head, so that it starts in the units of the reward."""
    model = load_scorer(member_directory(folder, 0), config.load)
    raw = model.get_parameter("score.weight").detach()
    head = nn.Linear(raw.shape[1], 1, bias=True, device=raw.device, dtype=raw.dtype)
    mean, std = normalisation.mean[0], normalisation.std[0]
    with torch.no_grad():
        head.weight.copy_(raw / std)
        head.bias.fill_(-mean / std)
    model.score = head
    return model


def read_data(config: PPOConfig, inputs: PPOInputs, models: Models) -> PPOData:
    """Read prompts and demonstrations. Raises TruingError where a prompt leaves no room for a completion, and so on."""
    context = longest_allowed(config.max_tokens, models.policy, models.value, *models.reward.members)
    room = context - config.max_new_tokens
    if room < 1:
        raise TruingError(f"max_new_tokens = {config.max_new_tokens} leaves no room for a prompt in a context of {context}")
    prompts = read_prompts(inputs.prompts) if isinstance(inputs.prompts, str | Path) else list(inputs.prompts)
    fitted = fit_prompts(models.tokenizer, prompts, room, config.too_long)
    demonstrations: list[Example] = []
    if config.ptx_coefficient > 0:
        given = inputs.demonstrations
        if given is None:
            raise TruingError("ppo.ptx_coefficient is above 0, but there are no demonstrations to mix in: name some, or set 0")
        read = read_demonstrations(given) if isinstance(given, str | Path) else given
        demonstrations = demonstration_examples(models.tokenizer, read, context, config.too_long).items
    kept = [prompts[index] for index in fitted.kept]
    return PPOData(kept, fitted.items, demonstrations, fitted.dropped(len(prompts)), config)
