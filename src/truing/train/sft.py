"""Supervised fine-tuning: a text predictor learns to answer by imitating demonstrations.

Loss: mean negative log-likelihood of the assistants' tokens, end tokens included (Ouyang et al. 2022, step 1). Departures: none
in the loss; batches are token budgets without padding, so the mean is over tokens, not over conversations.

    truing sft --model MODEL --demonstrations demonstrations.jsonl --out runs/mine

Held-out loss is measured before the first step and after the last, on conversations whose opening is not in training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel

from truing.data.batches import token_budget_batches
from truing.data.formats import read_demonstrations
from truing.data.splits import split_by
from truing.errors import TruingError
from truing.losses.masked import LossOutput, sequence_sums
from truing.losses.sft import sft
from truing.models.forward import token_logprobs
from truing.models.load import load_policy, load_tokenizer, save_model
from truing.models.runs import token_runs
from truing.models.template import require_template
from truing.records import Demonstration, Estimate, NullProgress, Progress, seed_for
from truing.stats.intervals import mean_interval
from truing.store.artifacts import Artifact, Store
from truing.train.config import SFTConfig
from truing.train.examples import Example, demonstration_examples, longest_allowed, ragged
from truing.train.log import MetricsLog
from truing.train.session import Checkpointer, parent_hash, ready_to_train
from truing.train.step import Stepper, mean_speed


@dataclass(frozen=True)
class SFTInputs:
    """A model (folder, artifact or hub id) and demonstrations (a file, or records)."""

    model: str | Path
    demonstrations: str | Path | Sequence[Demonstration]

    def parents(self) -> dict[str, str]:
        """Content hashes of what goes in."""
        return {"model": parent_hash(self.model), "demonstrations": parent_hash(self.demonstrations)}

    def read(self) -> Sequence[Demonstration]:
        """The demonstrations."""
        given = self.demonstrations
        return read_demonstrations(given) if isinstance(given, str | Path) else given


def run(
    config: SFTConfig,
    inputs: SFTInputs,
    store: Store,
    name: str,
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> Artifact:
    """Split off a held-out set, train, measure, publish."""
    draft = store.begin("sft", name, config, inputs.parents(), seeds={"sft": config.seed}, resume=resume)
    if isinstance(draft, Artifact):
        return draft
    tokenizer = load_tokenizer(inputs.model, config.chat_template, trust_remote_code=config.load.trust_remote_code)
    require_template(tokenizer)
    model = ready_to_train(load_policy(inputs.model, config.load), config.load.lora, seed_for(config.seed, "sft", "adapters"))
    demonstrations = inputs.read()
    fitted = demonstration_examples(tokenizer, demonstrations, longest_allowed(config.max_tokens, model), config.too_long)
    train, heldout = _split([demonstrations[index] for index in fitted.kept], fitted.items, config)

    lengths = [len(example.tokens) for example in train]
    plan = [
        batch
        for epoch in range(config.epochs)
        for batch in token_budget_batches(lengths, config.batch_tokens, seed_for(config.seed, "sft", "order", epoch))
    ]
    stepper = Stepper(model, config.optimiser, len(plan), "sft")
    checkpoints = Checkpointer(draft.checkpoint, config.checkpoint, {"policy": model}, {"policy": stepper})
    state = checkpoints.restore()
    # The log's first row is the held-out loss before any step; a run killed before its first checkpoint measures it again.
    log = MetricsLog(draft.path, config.logging, keep_rows=stepper.steps_done + 1 if state else 0)
    if not state:
        before = heldout_loss(model, heldout, config.micro_batch_tokens)
        log.write({"step": 0, "heldout_loss": before.value})
        checkpoints.save({"heldout_before": before.model_dump()})
        state = {"heldout_before": before.model_dump()}
    for step in range(stepper.steps_done, len(plan)):
        metrics = stepper.step(losses(model, [train[row] for row in plan[step]], config.micro_batch_tokens))
        log.write({"step": step + 1, **metrics})
        checkpoints.after_step(step + 1, state)
        (progress or NullProgress()).update(step + 1, len(plan), {name: metrics[name] for name in ("loss", "floor_fraction")})
    after = heldout_loss(model, heldout, config.micro_batch_tokens)
    log.write({"step": len(plan), "heldout_loss": after.value})
    log.close()
    save_model(model, tokenizer, draft.path / "model")
    return draft.publish(
        {
            "heldout_loss_before": Estimate.model_validate(state["heldout_before"]),
            "heldout_loss": after,
            **mean_speed(log.read()),
            "rows_dropped": fitted.dropped(len(demonstrations)),
            "rows_truncated": fitted.n_truncated,
        }
    )


def _split(
    demonstrations: Sequence[Demonstration], examples: Sequence[Example], config: SFTConfig
) -> tuple[list[Example], list[Example]]:
    """Training and held-out examples; conversations that open with the same question are on one side."""
    openings = [next(m.content for m in d.messages if m.role != "system") for d in demonstrations]
    rows = list(zip(openings, examples, strict=True))
    train, heldout = split_by(rows, lambda row: row[0], config.heldout_fraction, seed_for(config.seed, "sft", "split"))
    if len(heldout) < 2:
        raise TruingError(
            f"sft: heldout_fraction = {config.heldout_fraction:g} of {len(rows)} demonstrations holds out {len(heldout)}; "
            "at least two are needed. Raise sft.heldout_fraction, or add demonstrations."
        )
    return [example for _, example in train], [example for _, example in heldout]


def losses(model: PreTrainedModel, examples: Sequence[Example], budget: int) -> Iterator[LossOutput]:
    """The mean loss over the trained tokens of `examples`, a micro-batch of at most `budget` tokens at a time."""
    token_count = sum(example.n_trained for example in examples)
    for run_ in token_runs(range(len(examples)), [len(example.tokens) for example in examples], budget):
        batch, where = ragged([examples[row] for row in run_], model.device)
        yield sft(token_logprobs(model, batch, where, summed=True).logprobs_N, token_count)


@torch.no_grad()
def heldout_loss(model: PreTrainedModel, examples: Sequence[Example], budget: int) -> Estimate:
    """Nats a conversation's token (mean over its trained tokens), averaged over conversations, with its interval."""
    means: list[float] = []
    for run_ in token_runs(range(len(examples)), [len(example.tokens) for example in examples], budget):
        some = [examples[row] for row in run_]
        batch, where = ragged(some, model.device)
        lengths_B = torch.tensor([example.n_trained for example in some], device=model.device)
        means += (-sequence_sums(token_logprobs(model, batch, where).logprobs_N, lengths_B) / lengths_B).tolist()
    return mean_interval(means)
