"""Reward model: an ensemble of scalar heads that learns which of two answers people prefer.

Loss: Bradley-Terry on soft labels and weights (Stiennon et al. 2020; Ouyang et al. 2022, step 2), all pairs of one ranking
together (`rankings.py`). Departures: scores are kept near zero by a centring term (Eisenstein et al. 2023) and normalised
afterwards over training completions, in place of a bias that gives demonstrations a score of 0; members differ in the initial
head and in the order of the data.

    truing reward --model runs/mine/sft --preferences runs/mine/round-1/preferences --out runs/mine

Held-out accuracy and calibration carry intervals clustered by prompt. Where a strategy drew the pairs from a pool, accuracy on
the whole pool stands beside it, each pair weighed by 1 / propensity.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from truing.data.splits import group_of
from truing.models.load import choose_device, model_directory
from truing.models.reward import Normalisation, write_normalisation
from truing.records import Estimate, NullProgress, PreferencePair, Progress
from truing.stats.calibration import expected_calibration_error
from truing.stats.intervals import weighted_mean_interval, wilson_clustered
from truing.store.artifacts import Artifact, Store
from truing.store.files import read_lines, write_text
from truing.train.config import RewardConfig
from truing.train.examples import read_preferences
from truing.train.log import METRICS
from truing.train.processes import train_members_in_processes
from truing.train.reward_member import MemberJob, MemberResult, headline, train_member
from truing.train.session import parent_hash
from truing.train.step import mean_speed


@dataclass(frozen=True)
class RewardInputs:
    """A model to start from (folder, artifact or hub id) and a preference artifact (`train.jsonl`, `heldout.jsonl`)."""

    model: str | Path
    preferences: Path

    def parents(self) -> dict[str, str]:
        """Content hashes of what goes in."""
        return {"model": parent_hash(self.model), "preferences": parent_hash(self.preferences)}


def run(
    config: RewardConfig,
    inputs: RewardInputs,
    store: Store,
    name: str,
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> Artifact:
    """Train every member, normalise, measure on held-out pairs, publish."""
    draft = store.begin("reward", name, config, inputs.parents(), seeds={"reward": config.seed}, resume=resume)
    if isinstance(draft, Artifact):
        return draft
    heldout = read_preferences(inputs.preferences).heldout
    in_processes = config.parallel and config.members > 1 and choose_device(config.load).type == "cpu"
    jobs = [
        MemberJob(
            config=config,
            member=member,
            model=model_directory(inputs.model),
            preferences=inputs.preferences,
            folder=draft.path,
            threads=max(1, torch.get_num_threads() // (config.members if in_processes else 1)),
        )
        for member in range(config.members)
    ]
    train_members = train_members_in_processes if in_processes else _train_one_after_another
    results = train_members(jobs, progress or NullProgress())
    write_normalisation(
        draft.path, Normalisation(mean=tuple(result.mean for result in results), std=tuple(result.std for result in results))
    )
    logs = [line for job in jobs for line in read_lines(job.work / METRICS)]
    write_text(draft.path / METRICS, "".join(line + "\n" for line in logs))
    metrics = _heldout_metrics(results, [heldout[row] for row in results[0].heldout_kept])
    dropped = {"rows_dropped": results[0].rows_dropped, "rows_truncated": results[0].rows_truncated}
    return draft.publish({**metrics, **mean_speed(json.loads(line) for line in logs), **dropped})


def _train_one_after_another(jobs: Sequence[MemberJob], progress: Progress) -> list[MemberResult]:
    def report(job: MemberJob, done: int, total: int, metrics: Mapping[str, float]) -> None:
        progress.update(job.member * total + done, len(jobs) * total, headline([metrics]))

    return [train_member(job, lambda *told, job=job: report(job, *told)) for job in jobs]


def _heldout_metrics(results: Sequence[MemberResult], heldout: Sequence[PreferencePair]) -> dict[str, Estimate | float]:
    """Accuracy on pairs whose label takes a side, and calibration of the ensemble's mean probability on all."""
    chosen_MB = np.array([result.heldout_chosen for result in results])
    rejected_MB = np.array([result.heldout_rejected for result in results])
    probability_MB = 1 / (1 + np.exp(rejected_MB - chosen_MB))
    probability_B = probability_MB.mean(axis=0)
    label_B = np.array([pair.label for pair in heldout])
    prompts = [group_of(pair.prompt) for pair in heldout]

    takes_side_B = label_B != 0.5
    prefers_first_B = label_B > 0.5
    sided = [prompt for prompt, sides in zip(prompts, takes_side_B, strict=True) if sides]
    metrics: dict[str, Estimate | float] = {}
    if sided:
        is_right_B = _agrees(probability_B, prefers_first_B)
        metrics["heldout_accuracy"] = wilson_clustered(is_right_B[takes_side_B], sided)
        for member, probability in enumerate(probability_MB):
            right_B = _agrees(probability, prefers_first_B)
            metrics[f"heldout_accuracy_member_{member}"] = wilson_clustered(right_B[takes_side_B], sided)
        metrics |= _of_pool(is_right_B[takes_side_B], [p for p, sides in zip(heldout, takes_side_B, strict=True) if sides])
    # Read each pair from the side the model favours: "chosen" always stands first, which would make calibration trivial.
    is_confident_B = probability_B >= 0.5
    confidence_B = np.where(is_confident_B, probability_B, 1 - probability_B)
    outcome_B = np.where(is_confident_B, label_B, 1 - label_B)
    metrics["heldout_ece"] = expected_calibration_error(confidence_B, outcome_B, clusters=prompts)
    metrics["heldout_nll"] = float(-(label_B * np.log(probability_B) + (1 - label_B) * np.log1p(-probability_B)).mean())
    return metrics


def _of_pool(is_right_B: np.ndarray, pairs: Sequence[PreferencePair]) -> dict[str, Estimate]:
    """Accuracy on the pool that the pairs were drawn from; none where they were not all drawn from one."""
    propensities = [pair.propensity for pair in pairs if pair.propensity is not None]
    prompts = [group_of(pair.prompt) for pair in pairs]
    if len(propensities) < len(pairs) or len(set(prompts)) < 2:
        return {}
    estimate = weighted_mean_interval(is_right_B, 1 / np.array(propensities), prompts)
    cut = {"low": max(0.0, estimate.low), "high": min(1.0, estimate.high)}
    return {"heldout_accuracy_of_pool": estimate.model_copy(update=cut)}


def _agrees(probability_B: np.ndarray, prefers_first_B: np.ndarray) -> np.ndarray:
    """Whether the model takes the labelled side; equal scores take none."""
    return np.where(prefers_first_B, probability_B > 0.5, probability_B < 0.5).astype(float)
