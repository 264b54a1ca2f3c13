"""From samples to a policy's report: every number an estimate, clustered by prompt, overall and by kind of prompt. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from truing.data.phrases import has_phrase
from truing.evals.behaviour import opinion_swing, refusal_pair, stated_calibration
from truing.evals.config import EvaluateConfig, MarkersConfig
from truing.evals.text import distinct_share, repeated_share
from truing.records import Ending, Estimate, Prompt, Record, Rollout
from truing.stats.intervals import bootstrap_paired, mean_interval, wilson_clustered

Attributes = Mapping[str, bool | float | None]
Gold = Callable[[Prompt, str], Attributes]
"""(prompt, completion) -> named gold scores: "gold" is the scalar, booleans become rates, None = not tested by this prompt."""


class PolicyReport(Record):
    """What a policy is like on held-out prompts, at one temperature."""

    temperature: float
    samples_per_prompt: int
    prompts: int
    estimates: dict[str, Estimate]
    by_kind: dict[str, dict[str, Estimate]]


def build_report(
    samples: Sequence[Rollout], attributes: Sequence[Attributes], config: EvaluateConfig, *, has_kl: bool, has_proxy: bool
) -> PolicyReport:
    """The report of `samples` with their gold `attributes` (empty mappings where no gold rule is known)."""
    rows = list(zip(samples, attributes, strict=True))
    kinds = sorted({s.prompt.kind for s in samples})
    absent = ([] if has_kl else ["kl_nats"]) + ([] if has_proxy else ["proxy"])
    by_kind = {kind: _estimates([row for row in rows if row[0].prompt.kind == kind], config, absent) for kind in kinds}
    return PolicyReport(
        temperature=config.temperature,
        samples_per_prompt=config.samples_per_prompt,
        prompts=len({s.prompt.prompt_id for s in samples}),
        estimates=_estimates(rows, config, absent) | _pairs(rows, config),
        by_kind={kind: estimates for kind, estimates in by_kind.items() if estimates},
    )


def paired_difference(
    first: Sequence[Rollout], second: Sequence[Rollout], value: Callable[[Rollout], float], seed: int = 0
) -> Estimate:
    """Mean of `value` under the first policy less under the second, paired by prompt (bootstrap over the shared prompts)."""
    means = [_by_prompt(samples, value) for samples in (first, second)]
    shared = sorted(means[0].keys() & means[1].keys())
    return bootstrap_paired([means[0][key] for key in shared], [means[1][key] for key in shared], seed=seed)


Row = tuple[Rollout, Attributes]


def _estimates(rows: Sequence[Row], config: EvaluateConfig, absent: Sequence[str]) -> dict[str, Estimate]:
    prompts = [sample.prompt.prompt_id for sample, _ in rows]
    if len(set(prompts)) < 2:
        return {}
    samples = [sample for sample, _ in rows]
    means = {
        "proxy": [s.proxy for s in samples],
        "kl_nats": [s.kl_nats or 0.0 for s in samples],
        "length_tokens": [float(s.length_tokens) for s in samples],
        "repetition": [repeated_share(s.text) for s in samples],
    }
    estimates = {name: mean_interval(values, prompts) for name, values in means.items() if name not in absent}
    texts: dict[str, list[str]] = {}
    for sample in samples:
        texts.setdefault(sample.prompt.prompt_id, []).append(sample.text)
    estimates["distinct_2"] = mean_interval([distinct_share(group) for group in texts.values()])
    estimates["truncated_rate"] = wilson_clustered([s.ending is Ending.LENGTH for s in samples], prompts)
    for name in MarkersConfig.model_fields:
        phrases = getattr(config.markers, name)
        estimates[f"{name}_rate"] = wilson_clustered([has_phrase(s.text, phrases) for s in samples], prompts)
    for name in dict.fromkeys(name for _, scored in rows for name in scored):
        values = [(prompt, scored[name]) for prompt, (_, scored) in zip(prompts, rows, strict=True)]
        known = [(prompt, v) for prompt, v in values if v is not None]
        if len({prompt for prompt, _ in known}) > 1:
            estimates[name] = _attribute(known)
    return estimates


def _attribute(known: Sequence[tuple[str, bool | float]]) -> Estimate:
    prompts, values = [prompt for prompt, _ in known], [value for _, value in known]
    return wilson_clustered(values, prompts) if all(isinstance(v, bool) for v in values) else mean_interval(values, prompts)


def _pairs(rows: Sequence[Row], config: EvaluateConfig) -> dict[str, Estimate]:
    """Numbers that compare kinds of prompts: the refusal pair, the pull of opinions, stated confidence against being right."""
    estimates: dict[str, Estimate] = {}
    refusals = config.markers.refusal
    texts = {kind: [(s.prompt.prompt_id, s.text) for s, _ in rows if s.prompt.kind == kind] for kind in ("unsafe", "benign")}
    if texts["unsafe"] and texts["benign"]:
        pair = refusal_pair(texts["unsafe"], texts["benign"], refusals)
        estimates |= {"refused_unsafe": pair.refused_unsafe, "refused_benign": pair.refused_benign}
    right = [(s, bool(scored["correct"])) for s, scored in rows if scored.get("correct") is not None]
    swing = [[(s.prompt.prompt_id, ok) for s, ok in right if s.prompt.kind == f"opinion_{side}"] for side in ("right", "wrong")]
    if all(swing):
        estimates["opinion_swing"] = opinion_swing(*swing)
    answered = [(s.prompt.prompt_id, s.text, ok) for s, ok in right if not has_phrase(s.text, refusals)]
    if answered:
        stated = stated_calibration(answered, config.markers, config.confidence)
        estimates["stated_calibration_error"] = stated.error
        if stated.assertive_gap is not None:
            estimates["assertive_gap"] = stated.assertive_gap
    return estimates


def _by_prompt(samples: Sequence[Rollout], value: Callable[[Rollout], float]) -> dict[str, float]:
    groups: dict[str, list[float]] = {}
    for sample in samples:
        groups.setdefault(sample.prompt.prompt_id, []).append(value(sample))
    return {key: sum(values) / len(values) for key, values in groups.items()}
