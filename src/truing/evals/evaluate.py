"""The evaluation stage: sample a policy on held-out prompts at one fixed temperature, score it, and report with intervals.

    truing evaluate MODEL

The policy, the reward model and the gold rule stand behind plain callables (`truing.evals.adapters` makes them), so the stage
runs as well over a served model as over one in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from truing.errors import TruingError
from truing.evals.config import EvaluateConfig
from truing.evals.report import Gold, PolicyReport, build_report
from truing.records import Ending, NullProgress, Progress, Prompt, Rollout
from truing.store.artifacts import Artifact, Store
from truing.store.files import write_json, write_records

Scorer = Callable[[Sequence[tuple[Prompt, str]]], NDArray[np.float64]]
"""Answers -> scores [M members, B answers]."""


@dataclass(frozen=True)
class Sample:
    """One completion of a policy. `kl_nats` is its log-ratio to the reference (k1), None where there is no reference."""

    text: str
    length_tokens: int
    ending: Ending
    kl_nats: float | None = None


SamplePolicy = Callable[[Sequence[Prompt]], list[list[Sample]]]
"""Prompts -> for each, the same number of samples."""


@dataclass(frozen=True)
class EvaluateInputs:
    """What the stage reads. Without a scorer there is no proxy, without a gold rule no gold, without a reference no KL."""

    prompts: Sequence[Prompt]
    sample: SamplePolicy
    parents: Mapping[str, str]
    scorer: Scorer | None = None
    gold: Gold | None = None


def run(
    config: EvaluateConfig,
    inputs: EvaluateInputs,
    store: Store,
    name: str,
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> Artifact:
    """Evaluate and publish `samples.jsonl` (Rollout records, update 0) and `report.json` (PolicyReport)."""
    draft = store.begin("evaluate", name, config, inputs.parents, seeds={"evaluate": config.seed}, resume=resume)
    if isinstance(draft, Artifact):
        return draft
    samples, report = evaluate_policy(config, inputs)
    write_records(draft.path / "samples.jsonl", samples)
    write_json(draft.path / "report.json", report.model_dump(mode="json"))
    watched: dict[str, float | str] = {
        key: report.estimates[key].value for key in ("gold", "proxy", "length_tokens") if key in report.estimates
    }
    (progress or NullProgress()).update(len(samples), len(samples), watched)
    return draft.publish(report.estimates)


def evaluate_policy(config: EvaluateConfig, inputs: EvaluateInputs) -> tuple[list[Rollout], PolicyReport]:
    """Sample, score and report. Raises TruingError with fewer than two prompts, or where a callable returns too few answers."""
    prompts = list({p.prompt_id: p for p in inputs.prompts}.values())
    if len(prompts) < 2:
        raise TruingError(f"an evaluation needs at least two different prompts; there is {len(prompts)}")
    groups = inputs.sample(prompts)
    if [len(group) for group in groups] != [config.samples_per_prompt] * len(prompts):
        raise TruingError(f"the policy did not answer each of {len(prompts)} prompts {config.samples_per_prompt} times")
    flat = [(index, prompt, s) for index, (prompt, group) in enumerate(zip(prompts, groups, strict=True)) for s in group]
    scores_MB = inputs.scorer([(prompt, s.text) for _, prompt, s in flat]) if inputs.scorer else np.zeros((0, len(flat)))
    attributes = [inputs.gold(prompt, s.text) if inputs.gold else {} for _, prompt, s in flat]
    samples = [
        Rollout(
            update=0,
            group=index,
            prompt=prompt,
            text=s.text,
            length_tokens=s.length_tokens,
            ending=s.ending,
            proxy=float(column.mean()) if len(column) else 0.0,
            proxy_members=tuple(float(score) for score in column),
            kl_nats=s.kl_nats or 0.0,
            gold=None if scored.get("gold") is None else float(scored["gold"] or 0.0),
        )
        for (index, prompt, s), column, scored in zip(flat, scores_MB.T, attributes, strict=True)
    ]
    has_kl = all(s.kl_nats is not None for *_, s in flat)
    return samples, build_report(samples, attributes, config, has_kl=has_kl, has_proxy=inputs.scorer is not None)
