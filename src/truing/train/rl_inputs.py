"""What an RL run reads before its first update: its models, prompts in a fixed order, demonstrations to mix in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from truing.data.formats import read_demonstrations, read_prompts
from truing.data.lengths import fit_prompts
from truing.errors import TruingError
from truing.losses.masked import LossOutput
from truing.models.load import load_policy, load_tokenizer
from truing.models.reward import RewardEnsemble
from truing.models.template import require_template
from truing.records import Demonstration, Prompt, content_hash, seed_for
from truing.train.config import RLConfig
from truing.train.examples import Example, demonstration_examples, longest_allowed, shuffled
from truing.train.reference import LiveReference
from truing.train.session import parent_hash, ready_to_train
from truing.train.sft import losses as sft_losses


@dataclass(frozen=True)
class RewardFunction:
    """A rule in place of a reward model: `score(prompts, texts)` returns a number for each completion.

    The manifest knows it by `name` alone: give another name where the rule changes, or a finished run is taken for the same work.
    """

    name: str
    score: Callable[[Sequence[Prompt], Sequence[str]], Sequence[float]]

    def scores(self, prompts: Sequence[Prompt], texts: Sequence[str]) -> Tensor:
        """Scores [B] (float32). Raises TruingError where there is not one finite number for each completion."""
        scores_B = torch.tensor(list(self.score(prompts, texts)), dtype=torch.float32)
        if scores_B.shape != (len(texts),) or not scores_B.isfinite().all():
            raise TruingError(
                f"reward function {self.name}: must return one finite number for each of {len(texts)} completions; "
                f"it returned {tuple(scores_B.shape)}, {int(scores_B.isfinite().sum())} of them finite"
            )
        return scores_B


@dataclass(frozen=True)
class RLInputs:
    """A policy (folder, artifact or hub id), a reward artifact or function, prompts, and demonstrations to mix in."""

    policy: str | Path
    reward: Path | RewardFunction
    prompts: str | Path | Sequence[Prompt]
    demonstrations: str | Path | Sequence[Demonstration] | None = None
    watched_by: str | None = None
    """Content hash of the observer's settings, where its alarms can act: other settings are other work."""

    def parents(self) -> dict[str, str]:
        """Content hashes of what goes in."""
        reward = self.reward
        parents = {
            "reward": content_hash({"function": reward.name}) if isinstance(reward, RewardFunction) else parent_hash(reward)
        }
        given = {"policy": self.policy, "prompts": self.prompts, "demonstrations": self.demonstrations}
        parents |= {role: parent_hash(source) for role, source in given.items() if source is not None}
        return parents | ({"observer": self.watched_by} if self.watched_by else {})


@dataclass(frozen=True)
class Models:
    """Who takes part. Only the policy is trained; a learner may have a value model besides."""

    policy: PreTrainedModel
    reference: LiveReference | None
    """The policy as it started; None where nothing is tethered to it."""
    reward: RewardEnsemble | RewardFunction
    tokenizer: PreTrainedTokenizerBase


class PromptBatch(NamedTuple):
    """An update's prompts, and as tokens."""

    prompts: list[Prompt]
    tokens: list[list[int]]


@dataclass(frozen=True)
class RLData:
    """Prompts and demonstrations that fit the context. What an update draws depends on the seed and its number alone."""

    prompts: list[Prompt]
    prompts_tokens: list[list[int]]
    demonstrations: list[Example]
    prompts_dropped: int
    config: RLConfig

    def batch(self, update: int) -> PromptBatch:
        """The prompts of `update` (from 1): passes over all of them, each in an order of its own."""
        size, n = self.config.prompts_per_update, len(self.prompts)
        places = range((update - 1) * size, update * size)
        orders = {epoch: shuffled(n, seed_for(self.config.seed, "prompts", epoch)) for epoch in {p // n for p in places}}
        rows = [orders[place // n][place % n] for place in places]
        return PromptBatch([self.prompts[row] for row in rows], [self.prompts_tokens[row] for row in rows])

    def demonstration_losses(self, policy: PreTrainedModel, step: int) -> Iterator[LossOutput]:
        """The loss on demonstrations that PPO-ptx adds to optimiser step `step` (Ouyang et al. 2022, eq. 2); none where off."""
        config = self.config
        if config.ptx_coefficient == 0:
            return
        some: list[Example] = []
        for row in shuffled(len(self.demonstrations), seed_for(config.seed, "ptx", step)):
            some.append(self.demonstrations[row])
            if sum(len(example.tokens) for example in some) >= config.ptx_tokens:
                break
        for output in sft_losses(policy, some, config.micro_batch_tokens):
            yield LossOutput(config.ptx_coefficient * output.loss, {"ptx_loss": output.loss})


def load_models(config: RLConfig, inputs: RLInputs) -> Models:
    """Load everyone. Raises TruingError where policy and reward model read different tokens."""
    tokenizer = load_tokenizer(inputs.policy, config.chat_template, trust_remote_code=config.load.trust_remote_code)
    require_template(tokenizer)
    reward = inputs.reward if isinstance(inputs.reward, RewardFunction) else RewardEnsemble.load(inputs.reward, config.load)
    if isinstance(reward, RewardEnsemble) and tokenizer.get_vocab() != reward.tokenizer.get_vocab():
        raise TruingError(
            f"{inputs.reward}: the reward model's tokenizer is not the policy's ({inputs.policy}), and RL scores the very "
            "tokens that were sampled. Train the reward model from the same model family."
        )
    seed = seed_for(config.seed, "adapters")
    policy = ready_to_train(load_policy(inputs.policy, config.load), config.load.lora, seed)
    return Models(policy, LiveReference(policy) if config.needs_reference else None, reward, tokenizer)


def read_data(config: RLConfig, inputs: RLInputs, models: Models) -> RLData:
    """Read prompts and demonstrations. Raises TruingError where a prompt leaves no room for a completion, and so on."""
    members = models.reward.members if isinstance(models.reward, RewardEnsemble) else ()
    context = longest_allowed(config.max_tokens, models.policy, *members)
    room = context - config.max_new_tokens
    if room < 1:
        raise TruingError(f"max_new_tokens = {config.max_new_tokens} leaves no room for a prompt in a context of {context}")
    prompts = read_prompts(inputs.prompts) if isinstance(inputs.prompts, str | Path) else list(inputs.prompts)
    fitted = fit_prompts(models.tokenizer, prompts, room, config.too_long)
    demonstrations: list[Example] = []
    if config.ptx_coefficient > 0:
        given = inputs.demonstrations
        if given is None:
            raise TruingError("ptx_coefficient is above 0, but there are no demonstrations to mix in: name some, or set 0")
        read = read_demonstrations(given) if isinstance(given, str | Path) else given
        demonstrations = demonstration_examples(models.tokenizer, read, context, config.too_long).items
    kept = [prompts[index] for index in fitted.kept]
    return RLData(kept, fitted.items, demonstrations, fitted.dropped(len(prompts)), config)
