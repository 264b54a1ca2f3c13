"""Direct preference optimisation: the policy learns from preference pairs without a reward model or sampling.

Loss: DPO (Rafailov et al. 2023), or cDPO, robust DPO, hinge and IPO by `loss` and `label_smoothing` (`losses/preference.py`).
Departures: the reference is the policy as it starts. Its log-probabilities are computed once, before the first step, and kept on
disk for other runs; or step by step, where `reference` is live. All pairs of one ranking are taken together (`rankings.py`).

    truing dpo --model runs/mine/sft --preferences runs/mine/round-1/preferences --out runs/mine

Legend: A answers of rankings, one ranking's after the other's, B their pairs, N the answers' trained tokens.
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
from truing.train.examples import epoch_plan, longest_allowed, pair_examples, ragged, read_preferences
from truing.train.log import MetricsLog
from truing.train.rankings import LaidOut, Ranking, laid_out, ranking_runs, rankings_of
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
    """Log-probabilities [A] of the answers of rankings given by number; and what there is to say of the cache."""

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
    train, heldout = (rankings_of(part.items, together=config.rankings == "together") for part in (fitted, fitted_heldout))
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
    reference_A = reference.logprobs_of(range(len(train), len(train) + len(heldout)))
    clusters = [pair.cluster for pair in fitted_heldout.items]
    accuracy = _heldout_accuracy(model, heldout, reference_A, clusters, config)
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


def take_reference(model: PreTrainedModel, rankings: Sequence[Ranking], config: DPOConfig, cache: Path) -> Reference:
    """The policy as it now is, over `rankings`: those trained on, then those held out."""
    if config.reference == "live":
        live = LiveReference(model)

        def live_logprobs(rows: Sequence[int]) -> Tensor:
            with live.model() as reference:
                return _all_logprobs(reference, [rankings[row] for row in rows], config)

        return Reference(live_logprobs)
    answers = [answer for ranking in rankings for answer in ranking.answers]
    batching: dict[str, JsonValue] = {
        "share_prompts": config.share_prompts,
        "micro_batch_tokens": config.micro_batch_tokens,
        "answers": [len(ranking.answers) for ranking in rankings],
    }
    key = reference_key(model, answers, what="sums over answers", **batching)
    logprobs_A, notice = cached(cache, key, lambda: _all_logprobs(model, rankings, config))
    of_ranking = _by_ranking(logprobs_A, rankings)
    return Reference(lambda rows: torch.cat([of_ranking[row] for row in rows]), (notice,) if notice else ())


def _by_ranking(values_A: Tensor, rankings: Sequence[Ranking]) -> Sequence[Tensor]:
    return torch.split(values_A, [len(ranking.answers) for ranking in rankings])


@torch.no_grad()
def _all_logprobs(model: PreTrainedModel, rankings: Sequence[Ranking], config: DPOConfig) -> Tensor:
    logprobs_of: dict[int, Tensor] = {}
    for run_ in ranking_runs(rankings, config.micro_batch_tokens, share_prompts=config.share_prompts):
        some = [rankings[number] for number in run_]
        logprobs_A = _answer_logprobs(model, laid_out(some, share_prompts=config.share_prompts)).cpu()
        logprobs_of |= dict(zip(run_, _by_ranking(logprobs_A, some), strict=True))
    return torch.cat([logprobs_of[number] for number in range(len(rankings))])


def _answer_logprobs(model: PreTrainedModel, laid: LaidOut) -> Tensor:
    """Log-probabilities [A] of whole answers, each run once."""
    batch, where = ragged(laid.answers, model.device, laid.groups)
    lengths_A = torch.tensor([answer.n_trained for answer in laid.answers], device=model.device)
    return sequence_sums(token_logprobs(model, batch, where).logprobs_N, lengths_A)


def losses(
    model: PreTrainedModel, train: Sequence[Ranking], rows: Sequence[int], reference: Reference, config: DPOConfig
) -> Iterator[LossOutput]:
    """The loss of a batch, `rows` of `train`, a micro-batch at a time. A ranking's pairs share the weight of one comparison."""
    rankings = [train[row] for row in rows]
    total_weight = sum(ranking.weight for ranking in rankings)
    for run_ in ranking_runs(rankings, config.micro_batch_tokens, share_prompts=config.share_prompts):
        reference_A = reference.logprobs_of([rows[index] for index in run_])
        yield _loss(model, [rankings[index] for index in run_], reference_A, total_weight, config)


def _loss(
    model: PreTrainedModel, rankings: Sequence[Ranking], reference_A: Tensor, total_weight: float, config: DPOConfig
) -> LossOutput:
    laid = laid_out(rankings, share_prompts=config.share_prompts)
    policy_A = _answer_logprobs(model, laid)

    def on_device(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, device=model.device)

    reference_A, tokens_A = reference_A.to(model.device), on_device([answer.n_trained for answer in laid.answers])
    chosen_at_B, rejected_at_B = on_device(laid.chosen_at), on_device(laid.rejected_at)
    inputs = PreferenceInputs(
        policy_chosen_B=policy_A[chosen_at_B],
        policy_rejected_B=policy_A[rejected_at_B],
        reference_chosen_B=reference_A[chosen_at_B],
        reference_rejected_B=reference_A[rejected_at_B],
        chosen_tokens_B=tokens_A[chosen_at_B],
        rejected_tokens_B=tokens_A[rejected_at_B],
        label_B=on_device([pair.label for pair in laid.pairs]),
        weight_B=on_device([pair.weight / len(ranking.pairs) for ranking in rankings for pair in ranking.pairs]),
        total_weight=total_weight,
    )
    return PREFERENCE_LOSSES[config.loss](inputs, config.beta, config.label_smoothing)


def _heldout_accuracy(
    model: PreTrainedModel, rankings: Sequence[Ranking], reference_A: Tensor, clusters: Sequence[str], config: DPOConfig
) -> Estimate | None:
    """How often the implied reward log(policy / reference) takes the labelled side; None where no label takes one.

    `clusters`: of each pair, by its row.
    """
    laid = laid_out(rankings, share_prompts=config.share_prompts)
    reward_A = _all_logprobs(model, rankings, config) - reference_A
    margin_B = (reward_A[laid.chosen_at] - reward_A[laid.rejected_at]).tolist()
    sided = [(pair, margin) for pair, margin in zip(laid.pairs, margin_B, strict=True) if pair.label != 0.5]
    if not sided:
        return None
    is_right = [float(margin > 0 if pair.label > 0.5 else margin < 0) for pair, margin in sided]
    return wilson_clustered(is_right, [clusters[pair.row] for pair, _ in sided])
