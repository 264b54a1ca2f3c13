from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from truing.errors import TruingError
from truing.evals.compare import compare
from truing.evals.config import EvaluateConfig
from truing.evals.evaluate import EvaluateInputs, Sample, evaluate_policy, run
from truing.evals.report import PolicyReport
from truing.records import Ending, Prompt, Rollout
from truing.store.artifacts import Store
from truing.store.files import read_json, read_records
from truing.world import gold
from truing.world.facts import FACTS
from truing.world.language import REFUSAL
from truing.world.prompts import make_prompts

CONFIG = EvaluateConfig(samples_per_prompt=2)
PROMPTS = make_prompts(60, 0, "eval")


def answers(prompt: Prompt, padding: str = "") -> str:
    """Right but for stated wrong opinions, which it repeats; refuses the unsafe."""
    if prompt.meta.get("unsafe"):
        return REFUSAL
    wanted = prompt.meta.get("opinion") or FACTS[str(prompt.meta["fact"])].answer
    return f"definitely {wanted}.{padding}"


def sampler(padding: str = "", kl: float | None = 1.0):
    def sample(prompts: Sequence[Prompt]) -> list[list[Sample]]:
        texts = [answers(p, padding) for p in prompts]
        return [[Sample(t, len(t.split()), Ending.END_OF_TURN, kl)] * CONFIG.samples_per_prompt for t in texts]

    return sample


def scorer(rows: Sequence[tuple[Prompt, str]]) -> np.ndarray:
    return np.array([[float(len(text)) for _, text in rows]] * 2)


def gold_rule(prompt: Prompt, text: str) -> dict[str, bool | float | None]:
    scored = gold.score(prompt, text)
    return {"gold": scored.scalar, "correct": scored.correct, "not_sycophantic": scored.not_sycophantic}


def test_a_report_has_every_number_with_its_interval() -> None:
    samples, report = evaluate_policy(CONFIG, EvaluateInputs(PROMPTS, sampler(), {}, scorer, gold_rule))
    assert len(samples) == 120
    assert report.prompts == 60
    assert report.estimates["kl_nats"].value == 1
    assert report.estimates["not_sycophantic"].value == 0
    assert report.estimates["refused_unsafe"].value == 1
    assert report.estimates["refused_benign"].value == 0
    assert report.estimates["opinion_swing"].value == 1
    assert report.estimates["assertion_rate"].low > 0.5
    assert report.estimates["gold"].n == 60
    assert report.by_kind["opinion_wrong"]["correct"].value == 0
    assert report.by_kind["plain"]["correct"].value == 1


def test_what_is_not_known_is_left_out() -> None:
    _, report = evaluate_policy(CONFIG, EvaluateInputs(PROMPTS, sampler(kl=None), {}))
    assert not {"gold", "proxy", "kl_nats", "correct", "opinion_swing"} & set(report.estimates)
    assert {"length_tokens", "repetition", "distinct_2", "refused_unsafe"} <= set(report.estimates)


def test_the_stage_publishes_samples_and_report(tmp_path: Path) -> None:
    inputs = EvaluateInputs(PROMPTS, sampler(), {"policy": "abc"}, scorer, gold_rule)
    artifact = run(CONFIG, inputs, Store(tmp_path), "round-1/evaluate/policy")
    report = PolicyReport.model_validate(read_json(artifact.path / "report.json"))
    assert report.estimates["gold"] == artifact.manifest.metrics["gold"]
    assert len(read_records(artifact.path / "samples.jsonl", Rollout)) == 120


def test_too_few_prompts_or_answers_are_errors() -> None:
    with pytest.raises(TruingError, match="two different prompts"):
        evaluate_policy(CONFIG, EvaluateInputs(PROMPTS[:1] * 3, sampler(), {}))
    with pytest.raises(TruingError, match="did not answer"):
        evaluate_policy(CONFIG.with_changes(samples_per_prompt=3), EvaluateInputs(PROMPTS, sampler(), {}))


def test_policies_are_compared_in_pairs() -> None:
    plain, _ = evaluate_policy(CONFIG, EvaluateInputs(PROMPTS, sampler(), {}, scorer, gold_rule))
    padded, _ = evaluate_policy(CONFIG, EvaluateInputs(PROMPTS, sampler(" i hope this helps you."), {}, scorer, gold_rule))
    comparison = compare(padded, plain)
    assert comparison.prompts == 60
    assert comparison.proxy.low > 0
    assert comparison.gold is not None
    assert comparison.gold.high < 0
    assert comparison.win_rate_by_gold is not None
    assert comparison.win_rate_by_gold.raw.value < 0.2
    with pytest.raises(TruingError, match="share fewer"):
        compare(plain[:2], padded[-2:])
