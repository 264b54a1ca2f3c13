"""One member of the reward ensemble, trained alone: in the caller's process, or in one of its own.

    python -m truing.train.reward_member JOB.json

is what `reward.py` starts for each member on a CPU. It writes one JSON line a step to its standard output, and ends when that
is closed: so no member outlives a run that was killed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from filelock import FileLock
from pydantic import Field
from torch import Tensor
from transformers import PreTrainedModel

from truing.errors import TruingError
from truing.losses.masked import LossOutput
from truing.losses.reward import bradley_terry
from truing.models.load import load_scorer, load_tokenizer, save_model
from truing.models.reward import member_directory
from truing.records import Record, seed_for
from truing.store.files import read_json, write_json
from truing.train.config import RewardConfig
from truing.train.examples import PairExample, epoch_plan, longest_allowed, pair_examples, read_preferences
from truing.train.log import TENSORBOARD, MetricsLog
from truing.train.rankings import Ranking, compared_scores, pair_scores, ranking_runs, rankings_of
from truing.train.session import Checkpointer, ready_to_train
from truing.train.step import Stepper

_NORMALISATION_PAIRS = 1024
"""Training pairs whose completions give the mean and standard deviation of a member's scores."""

Report = Callable[[int, int, dict[str, float]], None]


class MemberJob(Record):
    """Everything a member's training needs, as a process can be handed it."""

    config: RewardConfig
    member: int
    model: str
    preferences: Path
    folder: Path
    """The stage's working directory."""
    threads: int = Field(ge=1)

    @property
    def work(self) -> Path:
        """Where this member keeps its checkpoint, its log and its result."""
        return self.folder / "checkpoint" / f"member-{self.member}"

    @property
    def result(self) -> Path:
        """Written when the member is done."""
        return self.work / "result.json"


class MemberResult(Record):
    """Raw scores of a trained member."""

    mean: float
    std: float
    heldout_chosen: tuple[float, ...]
    heldout_rejected: tuple[float, ...]
    heldout_kept: tuple[int, ...]
    """Which held-out pairs the scores are of: a pair may be too long."""
    rows_dropped: int
    rows_truncated: int


def train_member(job: MemberJob, report: Report) -> MemberResult:
    """Train, save the model, score the held-out pairs. Goes on from a checkpoint where there is one; done is done."""
    job.work.mkdir(parents=True, exist_ok=True)
    with FileLock(job.work / ".lock"):  # a member of a run that was just killed may still be finishing a step
        if not job.result.exists():
            write_json(job.result, _train(job, report).model_dump(mode="json"))
        return MemberResult.model_validate(read_json(job.result))


def _train(job: MemberJob, report: Report) -> MemberResult:
    torch.set_num_threads(job.threads)
    config, label = job.config, ("reward", job.member)
    tokenizer = load_tokenizer(job.model, config.chat_template, trust_remote_code=config.load.trust_remote_code)
    model = load_scorer(job.model, config.load, seed=seed_for(config.seed, *label, "head"), head_init=config.head_init)
    ready_to_train(model, config.load.lora, seed_for(config.seed, *label, "adapters"))
    pairs = read_preferences(job.preferences)
    limit = longest_allowed(config.max_tokens, model)
    fitted, fitted_heldout = (pair_examples(tokenizer, part, limit, config.too_long) for part in pairs)
    train = rankings_of(fitted.items, together=config.rankings == "together")

    plan = epoch_plan(len(train), config.batch_pairs, config.epochs, seed_for(config.seed, *label, "order"))
    stepper = Stepper(model, config.optimiser, len(plan), f"reward member {job.member}")
    checkpoints = Checkpointer(job.work / "state", config.checkpoint, {"member": model}, {"member": stepper})
    checkpoints.restore()
    events = job.folder / TENSORBOARD / f"member-{job.member}"
    log = MetricsLog(job.work, config.logging, keep_rows=stepper.steps_done, tensorboard=events)
    for step in range(stepper.steps_done, len(plan)):
        metrics = stepper.step(losses(model, [train[index] for index in plan[step]], config))
        report(step + 1, len(plan), metrics)
        log.write({"step": step + 1, "member": job.member, **metrics})
        checkpoints.after_step(step + 1, {})
    log.close()

    heldin = _scores(model, fitted.items[:_NORMALISATION_PAIRS], config)
    chosen_B, rejected_B = _scores(model, fitted_heldout.items, config).unbind()
    save_model(model, tokenizer, member_directory(job.folder, job.member))
    return MemberResult(
        mean=float(heldin.mean()),
        std=max(float(heldin.std()), 1e-6),
        heldout_chosen=tuple(chosen_B.tolist()),
        heldout_rejected=tuple(rejected_B.tolist()),
        heldout_kept=tuple(fitted_heldout.kept),
        rows_dropped=fitted.dropped(len(pairs.train)) + fitted_heldout.dropped(len(pairs.heldout)),
        rows_truncated=fitted.n_truncated + fitted_heldout.n_truncated,
    )


def losses(model: PreTrainedModel, rankings: Sequence[Ranking], config: RewardConfig) -> Iterator[LossOutput]:
    """The batch's Bradley-Terry loss, a micro-batch at a time."""
    total_weight = sum(ranking.weight for ranking in rankings)
    for run in ranking_runs(rankings, config.micro_batch_tokens, share_prompts=config.share_prompts):
        some = [rankings[index] for index in run]
        scores = compared_scores(model, some, total_weight, share_prompts=config.share_prompts)
        yield bradley_terry(scores, config.center_coefficient)


def _scores(model: PreTrainedModel, pairs: Sequence[PairExample], config: RewardConfig) -> Tensor:
    """Raw scores, [2, B]: of the chosen and of the rejected."""
    return pair_scores(model, rankings_of(pairs), share_prompts=config.share_prompts)


def headline(latest: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """What is worth watching: means over members."""
    return {name: sum(metrics[name] for metrics in latest) / len(latest) for name in ("loss", "accuracy", "floor_fraction")}


def _say(message: dict[str, object]) -> None:
    """One line to whoever started this process; where nobody listens any more, end at once."""
    try:
        print(json.dumps(message), flush=True)
    except BrokenPipeError:
        os._exit(1)


def main() -> None:
    """Run the job file named on the command line."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the process that started this one, which ends it
    job = MemberJob.model_validate(read_json(Path(sys.argv[1])))
    try:
        train_member(job, lambda done, total, metrics: _say({"done": done, "total": total, "metrics": metrics}))
    except TruingError as error:
        _say({"error": str(error)})
        sys.exit(2)


if __name__ == "__main__":
    main()
