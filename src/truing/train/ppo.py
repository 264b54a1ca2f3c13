"""PPO: the policy samples, a reward ensemble scores, and clipped policy-gradient steps move it under a KL tether.

Choreography of Ziegler et al. (2019), Stiennon et al. (2020) and Huang et al. (2024, "N+ implementation details"): reward at the
last token, -beta k1 at every token, GAE, whitened advantages, clipped policy and value losses. Departures: the value model is a
network of its own, started from reward member 0, with an optimiser of its own; rewards are the mean of an ensemble, in standard
deviations of its training completions; episodes are laid end to end, so nothing is averaged over padding.

    truing ppo --model runs/mine/sft --reward runs/mine/round-1/reward --prompts prompts.jsonl --out runs/mine

An update: sample and score, show the observer (a monitor), act on its alarms, then `epochs` x `minibatches` steps. Rows of
`metrics.jsonl` and `rollouts.jsonl` describe the weights before the update whose number they carry. Gold is only logged.

Legend: B episodes, N their completion tokens.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, fields
from functools import partial
from itertools import chain

from torch import Tensor
from transformers import PreTrainedModel

from truing.losses.advantage import Advantages, gae, token_rewards
from truing.losses.masked import LossOutput, whiten
from truing.losses.policy import AdaptiveKL, k1, ppo_policy, ppo_value
from truing.models.forward import token_logprobs, token_values
from truing.models.load import save_model
from truing.records import Alarm, NullProgress, Progress, Rollout, seed_for
from truing.rollout.make import make_sampler
from truing.store.artifacts import Artifact, Metric, Store
from truing.train.config import PPOConfig
from truing.train.examples import shuffled
from truing.train.experience import Experience, Gold, Piece, RolloutMetrics, collect, group_standard_error
from truing.train.log import MetricsLog
from truing.train.ppo_inputs import Models, PPOData, PPOInputs, load_models, read_data
from truing.train.ppo_state import Best, Journal, PPOCounts
from truing.train.session import Checkpointer
from truing.train.side_by_side import side_by_side
from truing.train.step import Stepper

Observer = Callable[[int, list[Rollout], dict[str, float]], list[Alarm]]
"""Shown each update's rollouts (without gold) and their metrics; answers with alarms. Replayed when a run is resumed."""


def run(
    config: PPOConfig,
    inputs: PPOInputs,
    store: Store,
    name: str,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    observer: Observer | None = None,
    gold: Gold | None = None,
) -> Artifact:
    """Run the updates, or stop where an alarm says so. `gold` is logged with each rollout and shown to nobody."""
    draft = store.begin("ppo", name, config, inputs.parents(), seeds={"ppo": config.seed}, resume=resume)
    if isinstance(draft, Artifact):
        return draft
    models = load_models(config, inputs)
    data = read_data(config, inputs, models)
    steps = config.updates * config.epochs * config.minibatches
    policy_stepper = Stepper(models.policy, config.optimiser, steps, "ppo policy")
    value_stepper = Stepper(models.value, config.value_optimiser, steps, "ppo value model")
    best = Best(models.policy) if observer or config.keep_best else None
    checkpoints = Checkpointer(
        draft.checkpoint,
        config.checkpoint,
        {"policy": models.policy, "value": models.value, **({"best": best.model} if best else {})},
        {"policy": policy_stepper, "value": value_stepper},
    )
    saved = checkpoints.restore()
    counts = PPOCounts.model_validate(saved) if saved else PPOCounts(beta=config.kl.beta)
    log = MetricsLog(draft.path, config.logging, keep_rows=counts.update)
    journal = Journal(draft.path, counts.rollouts, counts.alarms)
    _replay(observer, log, journal)
    stopped_by: Alarm | None = None

    with closing(make_sampler(config.engine, models.policy, models.tokenizer, max_batch=config.sample_batch)) as sampler:
        for update in range(counts.update + 1, config.updates + 1):
            sampler.load_weights(models.policy, update - 1)
            experience = collect(update, data.batch(update), models, sampler, config, gold)
            observed = asdict(experience.metrics)
            alarms = observer(update, _without_gold(experience.rollouts), observed) if observer else []
            journal.write(experience.rollouts, alarms)
            if best and journal.alarms == 0:
                best.take(models.policy)
                counts = counts.model_copy(update={"best_update": update})
            beta = counts.beta * config.kl.raise_factor if any(a.action == "raise_beta" for a in alarms) else counts.beta
            row = {"update": update, **observed, **_gold_metrics(experience, config), "beta": beta, "alarms": len(alarms)}
            stopped_by = next((alarm for alarm in alarms if alarm.action == "stop"), None)
            if stopped_by is not None:
                log.write({**row, **experience.timings._asdict()})
                break

            started = time.perf_counter()
            metrics = _improve(update, experience, beta, models, policy_stepper, value_stepper, data, config)
            log.write({**row, **metrics, **experience.timings._asdict(), "update_s": time.perf_counter() - started})
            if config.kl.adaptive:
                controller = AdaptiveKL(config.kl.target_nats, config.kl.horizon)
                beta = controller.next_beta(beta, experience.metrics.kl_nats, len(experience.episodes))
            counts = counts.model_copy(
                update={"update": update, "beta": beta, "rollouts": journal.rollouts, "alarms": journal.alarms}
            )
            checkpoints.after_step(update, counts.to_extra())
            (progress or NullProgress()).update(update, config.updates, _headline(row))

    log.close()
    save_model(models.policy, models.tokenizer, draft.path / "model")
    if best and (config.keep_best or stopped_by):
        save_model(best.model, models.tokenizer, draft.path / "best")
    return draft.publish(_summary(log, counts, stopped_by, data))


def _improve(
    update: int,
    experience: Experience,
    beta: float,
    models: Models,
    policy_stepper: Stepper,
    value_stepper: Stepper,
    data: PPOData,
    config: PPOConfig,
) -> dict[str, float]:
    """`epochs` passes over the update's episodes, `minibatches` steps each. Returns means over steps, and the first step's."""
    k1_N = k1(experience.trainer_logprobs_N, experience.reference_logprobs_N)
    rewards_N = token_rewards(experience.reward_B, k1_N, experience.lengths_B, beta)
    targets = gae(rewards_N, experience.values_N, experience.lengths_B, config.gamma, config.lam)
    if config.whiten_advantages:
        targets = Advantages(whiten(targets.advantages_N), targets.returns_N)
    steps: list[dict[str, float]] = []
    for epoch in range(config.epochs):
        order = shuffled(len(experience.episodes), seed_for(config.seed, "ppo", "order", update, epoch))
        for minibatch in range(config.minibatches):
            pieces = experience.pieces(order[minibatch :: config.minibatches], config.micro_batch_tokens)
            count = sum(len(piece.tokens_n) for piece in pieces)
            mixed_in = data.demonstration_losses(models.policy, policy_stepper.steps_done)
            policy_losses = chain(_policy_losses(models.policy, pieces, experience, targets, count, config), mixed_in)
            policy, value = side_by_side(
                partial(policy_stepper.step, policy_losses),
                partial(value_stepper.step, _value_losses(models.value, pieces, experience, targets, count, config)),
                models.policy.device,
            )
            steps.append({**policy, **{f"value_{name.removeprefix('value_')}": number for name, number in value.items()}})
    means = {name: sum(step[name] for step in steps) / len(steps) for name in steps[0]}
    first = {f"first_{name}": steps[0][name] for name in ("ratio", "clip_fraction", "approx_kl")}
    return {**means, **first, "explained_variance": _explained_variance(experience.values_N, targets.returns_N)}


def _policy_losses(
    model: PreTrainedModel, pieces: Sequence[Piece], experience: Experience, targets: Advantages, count: int, config: PPOConfig
) -> Iterator[LossOutput]:
    for piece in pieces:
        logprobs_N = token_logprobs(model, piece.batch, piece.where, temperature=config.temperature).logprobs_N
        trainer_N, advantages_N = experience.trainer_logprobs_N[piece.tokens_n], targets.advantages_N[piece.tokens_n]
        yield ppo_policy(logprobs_N, trainer_N, advantages_N, config.clip, count)


def _value_losses(
    model: PreTrainedModel, pieces: Sequence[Piece], experience: Experience, targets: Advantages, count: int, config: PPOConfig
) -> Iterator[LossOutput]:
    for piece in pieces:
        values_N = token_values(model, piece.batch, piece.where)
        rollout_N, returns_N = experience.values_N[piece.tokens_n], targets.returns_N[piece.tokens_n]
        yield ppo_value(values_N, rollout_N, returns_N, config.value_clip, count).scaled(config.value_coefficient)


def _explained_variance(values_N: Tensor, returns_N: Tensor) -> float:
    """1 - var(returns - values) / var(returns): 1 = the value model foresees all, 0 = no better than a constant."""
    variance = float(returns_N.var(unbiased=False))
    return 1 - float((returns_N - values_N).var(unbiased=False)) / variance if variance > 0 else 0.0


def _without_gold(rollouts: Sequence[Rollout]) -> list[Rollout]:
    return [rollout.model_copy(update={"gold": None}) for rollout in rollouts]


def _gold_metrics(experience: Experience, config: PPOConfig) -> dict[str, float]:
    gold = [rollout.gold for rollout in experience.rollouts if rollout.gold is not None]
    if not gold:
        return {}
    return {"gold": sum(gold) / len(gold), "gold_se": group_standard_error(gold, config.samples_per_prompt)}


def _headline(row: Mapping[str, float]) -> dict[str, float | str]:
    return {name: row[name] for name in ("proxy", "gold", "kl_nats", "length_tokens") if name in row}


def _replay(observer: Observer | None, log: MetricsLog, journal: Journal) -> None:
    """Show the observer again what it saw before the run was killed, so that it goes on as if it had not been."""
    if observer is None:
        return
    rollouts = journal.read_rollouts()
    for row in log.read():
        update = int(str(row["update"]))
        seen = {field.name: float(str(row[field.name])) for field in fields(RolloutMetrics)}
        observer(update, _without_gold(rollouts[update]), seen)


def _summary(log: MetricsLog, counts: PPOCounts, stopped_by: Alarm | None, data: PPOData) -> dict[str, Metric]:
    last = log.read()[-1]
    numbers: dict[str, Metric] = {name: last[name] for name in ("proxy", "gold", "kl_nats", "length_tokens") if name in last}
    return {
        **numbers,
        "updates": last["update"],
        "best_update": counts.best_update,
        "stopped_by": None if stopped_by is None else f"{stopped_by.signal} at update {stopped_by.update}",
        "prompts_dropped": data.prompts_dropped,
    }
