"""The loop that PPO, GRPO and RLOO share: sample, score, show the observer (a monitor), act on its alarms, take the steps.

An algorithm is a `Learner`: what it keeps besides the policy, what an episode was worth, and one optimiser step. Rows of
`metrics.jsonl` and `rollouts.jsonl` describe the weights before the update whose number they carry. Gold is only logged.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import asdict
from itertools import chain
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from torch import nn

from truing.losses.masked import LossOutput
from truing.losses.policy import AdaptiveKL
from truing.models.flops import FloorCounter
from truing.models.load import save_model
from truing.records import Alarm, NullProgress, Progress, Rollout, seed_for
from truing.rollout.make import make_sampler
from truing.store.artifacts import Artifact, Metric, Store
from truing.train.behaviour import Mismatch, skips_scoring
from truing.train.config import RLConfig
from truing.train.examples import shuffled
from truing.train.experience import Experience, collect
from truing.train.log import MetricsLog
from truing.train.minibatches import Minibatch
from truing.train.rl_inputs import Models, RLData, RLInputs, load_models, read_data
from truing.train.rl_state import Best, Journal, RLCounts
from truing.train.rollout_log import Gold, RolloutMetrics, gold_metrics, without_gold
from truing.train.session import Checkpointer
from truing.train.step import SPEED, Stepper, mean_speed, speed

Observer = Callable[[int, list[Rollout], dict[str, float]], list[Alarm]]
"""Shown each update's rollouts (without gold) and their metrics; answers with alarms. Replayed when a run is resumed."""
ConfigT = TypeVar("ConfigT", bound=RLConfig)
StepOn = Callable[[Minibatch], dict[str, float]]


class Learner(Protocol):
    """What differs between algorithms."""

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """Everything whose weights change, by the name a checkpoint gives it."""
        ...

    @property
    def steppers(self) -> Mapping[str, Stepper]:
        """What moves them."""
        ...

    @property
    def value(self) -> nn.Module | None:
        """A value model, to score rollouts with; None where there is none."""
        ...

    def begin(self, experience: Experience, beta: float) -> tuple[StepOn, dict[str, float]]:
        """See what the episodes were worth. Returns the optimiser step on some of them, and metrics of the update."""
        ...


class PolicyAlone(Generic[ConfigT]):
    """What learners without a value model have in common: one network, one stepper, demonstrations mixed into each step."""

    what: ClassVar[str]
    """The stage, as error messages name it."""
    value = None

    def __init__(self, config: ConfigT, inputs: RLInputs, models: Models, data: RLData) -> None:
        del inputs
        self.config, self.policy, self.data = config, models.policy, data
        self.stepper = Stepper(models.policy, config.optimiser, config.optimiser_steps, self.what)
        self.networks: Mapping[str, nn.Module] = {"policy": models.policy}
        self.steppers: Mapping[str, Stepper] = {"policy": self.stepper}

    def step(self, losses: Iterable[LossOutput]) -> dict[str, float]:
        """One optimiser step on `losses` and what is mixed in."""
        return self.stepper.step(chain(losses, self.data.demonstration_losses(self.policy, self.stepper.steps_done)))


def run(
    stage: str,
    make_learner: Callable[[ConfigT, RLInputs, Models, RLData], Learner],
    config: ConfigT,
    inputs: RLInputs,
    store: Store,
    name: str,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    observer: Observer | None = None,
    gold: Gold | None = None,
) -> Artifact:
    """Run the updates, or stop where an alarm says so. `gold` is logged with each rollout and shown to nobody."""
    draft = store.begin(stage, name, config, inputs.parents(), seeds={stage: config.seed}, resume=resume)
    if isinstance(draft, Artifact):
        return draft
    models = load_models(config, inputs)
    data = read_data(config, inputs, models)
    learner = make_learner(config, inputs, models, data)
    best = Best(models.policy) if observer or config.keep_best else None
    networks = {**learner.networks, **({"best": best} if best else {})}
    checkpoints = Checkpointer(draft.checkpoint, config.checkpoint, networks, learner.steppers)
    saved = checkpoints.restore()
    counts = RLCounts.model_validate(saved) if saved else RLCounts(beta=config.kl.beta)
    log = MetricsLog(draft.path, config.logging, keep_rows=counts.update)
    journal = Journal(draft.path, counts.rollouts, counts.alarms)
    _replay(observer, log, journal)
    stopped_by: Alarm | None = None

    with closing(make_sampler(config.engine, models.policy, models.tokenizer, max_batch=config.sample_batch)) as sampler:
        for update in range(counts.update + 1, config.updates + 1):
            started = time.perf_counter()
            with FloorCounter() as floor:
                sampler.load_weights(models.policy, update - 1)
                skip = skips_scoring(config, was_exact=counts.sampler_is_exact)
                prompts = data.batch(update)
                experience = collect(update, prompts, models, sampler, config, value=learner.value, gold=gold, skip_policy=skip)
                observed = experience.metrics.row()
                alarms = observer(update, without_gold(experience.rollouts), observed) if observer else []
                journal.write(experience.rollouts, alarms)
                if best and journal.alarms == 0:
                    best.take(models.policy)
                    counts = counts.model_copy(update={"best_update": update})
                beta = counts.beta * (config.kl.raise_factor if any(a.action == "raise_beta" for a in alarms) else 1)
                row = {"update": update, **observed, **gold_metrics(experience.rollouts, config.samples_per_prompt)}
                row |= {"beta": beta, "alarms": len(alarms), **experience.timings._asdict()}
                stopped_by = next((alarm for alarm in alarms if alarm.action == "stop"), None)
                if stopped_by is not None:
                    log.write(row)
                    break

                steps_began = time.perf_counter()
                metrics, mismatch = improve(learner, update, experience, beta, config)
            ended = time.perf_counter()
            row |= {**metrics, "update_s": ended - steps_began, **speed(floor, ended - started)}
            log.write(row)
            counts = RLCounts(
                update=update,
                beta=_next_beta(beta, row["kl_nats"], config) if config.kl.adaptive else beta,
                rollouts=journal.rollouts,
                alarms=journal.alarms,
                best_update=counts.best_update,
                sampler_is_exact=mismatch.is_exact(config),
            )
            checkpoints.after_step(update, counts.to_extra())
            (progress or NullProgress()).update(update, config.updates, _headline(row))

    log.close()
    save_model(models.policy, models.tokenizer, draft.path / "model")
    if best and (config.keep_best or stopped_by):
        best.give_back(models.policy)
        save_model(models.policy, models.tokenizer, draft.path / "best")
    return draft.publish(_summary(log, counts, stopped_by, data))


def improve(
    learner: Learner, update: int, experience: Experience, beta: float, config: RLConfig
) -> tuple[dict[str, float], Mismatch]:
    """`epochs` passes over the update's minibatches. Returns metrics (means over steps, and the first step's), and how far
    sampler and trainer were apart. Raises TruingError where that is too far.
    """
    step_on, metrics = learner.begin(experience, beta)
    steps: list[dict[str, float]] = []
    mismatch = experience.mismatch
    for epoch in range(config.epochs):
        for number in shuffled(config.minibatches, seed_for(config.seed, "order", update, epoch)):
            steps.append(step_on(experience.minibatches[number]))
            if mismatch is None:
                mismatch = Mismatch.of(experience.trainer, experience.sampler_logprobs_N)
                mismatch.refuse(config)
            experience.trainer.is_wanted = False
    assert mismatch is not None
    means = {name: sum(step[name] for step in steps) / len(steps) for name in steps[0] if not name.endswith(SPEED)}
    first = {f"first_{name}": steps[0][name] for name in ("ratio", "clip_fraction", "approx_kl")}
    return {**means, **first, **metrics, **asdict(mismatch), "entropy_nats": experience.trainer.entropy_nats}, mismatch


def _next_beta(beta: float, kl_nats: float, config: RLConfig) -> float:
    return AdaptiveKL(config.kl.target_nats, config.kl.horizon).next_beta(beta, kl_nats, config.episodes)


def _headline(row: Mapping[str, float]) -> dict[str, float | str]:
    return {name: row[name] for name in ("proxy", "gold", "kl_nats", "length_tokens", "floor_fraction") if name in row}


def _replay(observer: Observer | None, log: MetricsLog, journal: Journal) -> None:
    """Show the observer again what it saw before the run was killed, so that it goes on as if it had not been."""
    if observer is None:
        return
    rollouts = journal.read_rollouts()
    for row in log.read():
        update = int(str(row["update"]))
        observer(update, without_gold(rollouts[update]), RolloutMetrics.from_row(row))


def _summary(log: MetricsLog, counts: RLCounts, stopped_by: Alarm | None, data: RLData) -> dict[str, Metric]:
    rows = log.read()
    last: dict[str, Any] = rows[-1]
    numbers: dict[str, Metric] = {name: last[name] for name in ("proxy", "gold", "kl_nats", "length_tokens") if name in last}
    return {
        **numbers,
        **mean_speed(rows),
        "updates": last["update"],
        "best_update": counts.best_update,
        "stopped_by": None if stopped_by is None else f"{stopped_by.signal} at update {stopped_by.update}",
        "prompts_dropped": data.prompts_dropped,
    }
