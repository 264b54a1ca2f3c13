"""What truing's sides of W4 and W5 share: updates as `train/rl.py` does them, without its journal, its log and its
checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from benchmarks.ours import common
from benchmarks.peers.serve import Stopwatch
from truing.losses.masked import LossOutput
from truing.models.flops import FloorCounter
from truing.models.load import load_tokenizer
from truing.models.reward import RewardEnsemble
from truing.records import Ending, Prompt, SampledCompletion
from truing.rollout.make import make_sampler
from truing.train.behaviour import skips_scoring
from truing.train.config import RLConfig
from truing.train.experience import Experience, collect, score
from truing.train.reference import LiveReference
from truing.train.rl import Learner, improve
from truing.train.rl_inputs import Models, PromptBatch, RewardFunction, RLData, RLInputs

MakeLearner = Callable[[Any, RLInputs, Models, RLData], Learner]


def settings(job: dict[str, Any]) -> dict[str, Any]:
    """Of any algorithm's configuration."""
    return {
        "load": common.load_settings(job),
        "updates": job["updates"],
        "prompts_per_update": job["prompts_per_update"],
        "samples_per_prompt": job["samples_per_prompt"],
        "max_new_tokens": job["max_new_tokens"],
        "micro_batch_tokens": common.micro_batch_tokens(job),
        "temperature": 1.0,
        "optimiser": common.optimiser_config(job),
    }


class Side:
    """`reward` is a rule, or the folder of a reward artifact."""

    only_ours: tuple[str, ...] = ()
    """Weights that the peer's model does not have."""

    def __init__(self, job: dict[str, Any], learner: MakeLearner, config: RLConfig, reward: RewardFunction | Path) -> None:
        self._job, self._learner, self._config = job, learner, config
        self._inputs = RLInputs(policy=job["model"], reward=reward, prompts=[])
        self._sampler_is_exact = False
        """As the last update found: a run in its stride."""
        self._start()

    def parity(self, out: str) -> dict[str, Any]:
        """Of the first optimiser step on the job's completions."""
        models, learner = self._start()
        experience = self._given(models, learner)
        losses: list[float] = []
        for stepper in learner.steppers.values():
            stepper.step = partial(_backward_only, losses)  # type: ignore[method-assign]
        step_on, _ = learner.begin(experience, self._config.kl.beta)
        step_on(experience.minibatches[0])
        common.save_gradients(nn.ModuleDict(dict(learner.networks)), out, self.only_ours)
        return {"loss": sum(losses)}

    def run(self, settings: dict[str, Any]) -> dict[str, Any]:
        config = self._config.with_changes(seed=settings["seed"])
        models, learner = self._start()
        watch, tokens, sample_s = Stopwatch(), 0, 0.0
        sampler = make_sampler(self._config.engine, models.policy, models.tokenizer, max_batch=self._config.sample_batch)
        with closing(sampler), FloorCounter() as floor, watch.timing():
            for update in range(1, config.updates + 1):
                sampler.load_weights(models.policy, update - 1)
                skip = skips_scoring(config, was_exact=self._sampler_is_exact)
                experience = collect(update, self._prompts(), models, sampler, config, value=learner.value, skip_policy=skip)
                _, mismatch = improve(learner, update, experience, config.kl.beta, config)
                self._sampler_is_exact = mismatch.is_exact(config)
                tokens += int(experience.lengths_B.sum())
                sample_s += experience.timings.sample_s
        return {**watch.figures(), "floor_seconds": floor.seconds(), "tokens": tokens, "sample_seconds": sample_s}

    def _start(self) -> tuple[Models, Learner]:
        policy = common.policy(self._job)
        reward = self._inputs.reward
        models = Models(
            policy,
            LiveReference(policy) if self._config.needs_reference else None,
            reward if isinstance(reward, RewardFunction) else RewardEnsemble.load(reward, self._config.load),
            load_tokenizer(self._job["model"]),
        )
        batch = self._prompts()
        data = RLData(batch.prompts, batch.tokens, [], 0, self._config)
        return models, self._learner(self._config, self._inputs, models, data)

    def _prompts(self) -> PromptBatch:
        tokens = self._job["prompts"]
        return PromptBatch([Prompt.from_text(" ".join(map(str, prompt))) for prompt in tokens], tokens)

    def _given(self, models: Models, learner: Learner) -> Experience:
        group = self._job["samples_per_prompt"]
        completions = [
            SampledCompletion(tokens=tuple(one), logprobs=(0.0,) * len(one), ending=Ending.END_OF_TURN, weights_version=0)
            for one in self._job["completions"]
        ]
        grouped = [completions[start : start + group] for start in range(0, len(completions), group)]
        config = self._config.with_changes(max_mismatch_nats=1e9)
        return score(1, self._prompts(), grouped, models, config, value=learner.value)


def _backward_only(losses: list[float], outputs: Iterable[LossOutput]) -> dict[str, float]:
    """In place of a stepper's step: the gradients stay where they are, and the loss is noted."""
    losses.append(common.backward(outputs))
    return {"loss": losses[-1]}
