"""Direct preference optimisation: the policy learns from preference pairs without a reward model or sampling.

Loss: DPO (Rafailov et al. 2023), or cDPO, robust DPO, hinge and IPO by `loss` and `label_smoothing` (`losses/preference.py`).
Departures: the reference is the policy as it starts. Its log-probabilities are computed once, before the first step, and kept on
disk for other runs; or step by step, where `reference` is live.

    truing dpo --model runs/mine/sft --preferences runs/mine/round-1/preferences --out runs/mine

Legend: P pairs, B sequences of a batch (the chosen, then the rejected), N their trained tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import JsonValue
from torch import Tensor
from transformers import PreTrainedModel

from truing.losses.masked import LossOutput, sequence_sums
from truing.losses.preference import PREFERENCE_LOSSES, PreferenceInputs
from truing.models.forward import token_logprobs
from truing.models.load import load_policy, load_tokenizer, save_model
from truing.records import Estimate, NullProgress, Progress, seed_for
from truing.stats.intervals import wilson_clustered
from truing.store.artifacts import Artifact, Store
from truing.train.config import DPOConfig
from truing.train.examples import (
    PairExample,
    epoch_plan,
    longest_allowed,
    pair_examples,
    pair_runs,
    ragged_pairs,
    read_preferences,
)
from truing.train.log import MetricsLog
from truing.train.reference import REFERENCE_CACHE, LiveReference, cached, reference_key
from truing.train.session import Checkpointer, parent_hash, ready_to_train
from truing.train.step import Stepper, mean_speed


@dataclass(frozen=True)
class DPOInputs:
    """A policy to start from (folder, artifact or hub id) and a preference artifact (`train.jsonl`, `heldout.jsonl`)."""

    model: str | Path
    preferences: Path

    def parents(self) -> dict[str, str]:
        """Content hashes of what goes in."""
        return {"model": parent_hash(self.model), "preferences": parent_hash(self.preferences)}


@dataclass(frozen=True)
class Reference:
    """Log-probabilities [P, 2] of chosen and rejected, of pairs given by number; and what there is to say of the cache."""

    logprobs_of: Callable[[Sequence[int]], Tensor]
    notes: tuple[str, ...] = ()


def run(
    config: DPOConfig,
    inputs: DPOInputs,
    store: Store,
    name: str,
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> Artifact:
    """Take the reference, train, measure implied rewards on held-out pairs, publish."""
    draft = store.begin("dpo", name, config, inputs.parents(), seeds={"dpo": config.seed}, resume=resume)
    if isinstance(draft, Artifact):
        return draft
    tokenizer = load_tokenizer(inputs.model, config.chat_template, trust_remote_code=config.load.trust_remote_code)
    model = ready_to_train(load_policy(inputs.model, config.load), config.load.lora, seed_for(config.seed, "dpo", "adapters"))
    pairs = read_preferences(inputs.preferences)
    limit = longest_allowed(config.max_tokens, model)
    fitted, fitted_heldout = (pair_examples(tokenizer, part, limit, config.too_long) for part in pairs)
    train, heldout = fitted.items, fitted_heldout.items
    reference = take_reference(model, [*train, *heldout], config, store.root / REFERENCE_CACHE)

    plan = epoch_plan(len(train), config.batch_pairs, config.epochs, seed_for(config.seed, "dpo", "order"))
    stepper = Stepper(model, config.optimiser, len(plan), "dpo")
    checkpoints = Checkpointer(draft.checkpoint / "state", config.checkpoint, {"policy": model}, {"policy": stepper})
    checkpoints.restore()
    log = MetricsLog(draft.path, config.logging, keep_rows=stepper.steps_done)
    for step in range(stepper.steps_done, len(plan)):
        metrics = stepper.step(losses(model, train, plan[step], reference, config))
        log.write({"step": step + 1, **metrics})
        checkpoints.after_step(step + 1, {})
        headline = {name: metrics[name] for name in ("loss", "accuracy", "floor_fraction")}
        (progress or NullProgress()).update(step + 1, len(plan), headline)
    log.close()
    accuracy = _heldout_accuracy(model, heldout, reference.logprobs_of(range(len(train), len(train) + len(heldout))), config)
    save_model(model, tokenizer, draft.path / "model")
    dropped = fitted.dropped(len(pairs.train)) + fitted_heldout.dropped(len(pairs.heldout))
    truncated = fitted.n_truncated + fitted_heldout.n_truncated
    return draft.publish(
        {
            "heldout_accuracy": accuracy,
            "loss": log.read()[-1]["loss"],
            **mean_speed(log.read()),
            "rows_dropped": dropped,
            "rows_truncated": truncated,
        },
        notes=reference.notes,
    )


def take_reference(model: PreTrainedModel, pairs: Sequence[PairExample], config: DPOConfig, cache: Path) -> Reference:
    """The policy as it now is, over `pairs`: training pairs, then held-out ones."""
    if config.reference == "live":
        live = LiveReference(model)

        def live_logprobs(rows: Sequence[int]) -> Tensor:
            with live.model() as reference:
                return _all_logprobs(reference, [pairs[row] for row in rows], config)

        return Reference(live_logprobs)
    examples = [example for pair in pairs for example in (pair.chosen, pair.rejected)]
    batching: dict[str, JsonValue] = {"share_prompts": config.share_prompts, "micro_batch_tokens": config.micro_batch_tokens}
    key = reference_key(model, examples, what="sums over completions", **batching)
    logprobs_P2, notice = cached(cache, key, lambda: _all_logprobs(model, pairs, config))
    return Reference(lambda rows: logprobs_P2[list(rows)], (notice,) if notice else ())


@torch.no_grad()
def _all_logprobs(model: PreTrainedModel, pairs: Sequence[PairExample], config: DPOConfig) -> Tensor:
    logprobs_P2 = torch.empty(len(pairs), 2)
    for run_ in pair_runs(pairs, config.micro_batch_tokens, share_prompts=config.share_prompts):
        logprobs_P2[run_] = _completion_logprobs(model, [pairs[row] for row in run_], config).T.cpu()
    return logprobs_P2


def _completion_logprobs(model: PreTrainedModel, pairs: Sequence[PairExample], config: DPOConfig) -> Tensor:
    """Log-probabilities [2, P] of whole completions: the chosen, then the rejected."""
    batch, where = ragged_pairs(pairs, model.device, share_prompts=config.share_prompts)
    lengths = [pair.chosen.n_trained for pair in pairs] + [pair.rejected.n_trained for pair in pairs]
    sums_B = sequence_sums(token_logprobs(model, batch, where).logprobs_N, torch.tensor(lengths, device=model.device))
    return sums_B.view(2, -1)


def losses(
    model: PreTrainedModel, train: Sequence[PairExample], rows: Sequence[int], reference: Reference, config: DPOConfig
) -> Iterator[LossOutput]:
    """The loss of a batch, `rows` of `train`, a micro-batch at a time."""
    pairs = [train[row] for row in rows]
    total_weight = sum(pair.weight for pair in pairs)
    for run_ in pair_runs(pairs, config.micro_batch_tokens, share_prompts=config.share_prompts):
        reference_P2 = reference.logprobs_of([rows[index] for index in run_])
        yield _loss(model, [pairs[index] for index in run_], reference_P2, total_weight, config)


def _loss(
    model: PreTrainedModel, pairs: Sequence[PairExample], reference_P2: Tensor, total_weight: float, config: DPOConfig
) -> LossOutput:
    policy_2P = _completion_logprobs(model, pairs, config)
    reference_2P = reference_P2.T.to(model.device)
    tokens_2P = torch.tensor([[p.chosen.n_trained for p in pairs], [p.rejected.n_trained for p in pairs]], device=model.device)
    inputs = PreferenceInputs(
        policy_chosen_B=policy_2P[0],
        policy_rejected_B=policy_2P[1],
        reference_chosen_B=reference_2P[0],
        reference_rejected_B=reference_2P[1],
        chosen_tokens_B=tokens_2P[0],
        rejected_tokens_B=tokens_2P[1],
        label_B=torch.tensor([pair.label for pair in pairs], device=model.device),
        weight_B=torch.tensor([pair.weight for pair in pairs], device=model.device),
        total_weight=total_weight,
    )
    return PREFERENCE_LOSSES[config.loss](inputs, config.beta, config.label_smoothing)


def _heldout_accuracy(
    model: PreTrainedModel, pairs: Sequence[PairExample], reference_P2: Tensor, config: DPOConfig
) -> Estimate | None:
    """How often the implied reward log(policy / reference) takes the labelled side; None where no label takes one."""
    margins_P = (_all_logprobs(model, pairs, config) - reference_P2) @ torch.tensor([1.0, -1.0])
    sided = [(pair, float(margin)) for pair, margin in zip(pairs, margins_P, strict=True) if pair.label != 0.5]
    if not sided:
        return None
    is_right = [float(margin > 0 if pair.label > 0.5 else margin < 0) for pair, margin in sided]
    return wilson_clustered(is_right, [pair.cluster for pair, _ in sided])
