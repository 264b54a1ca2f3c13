"""What the red team, the monitor and the reward-model tests found, and what becomes of it.

A finding becomes (a) prompts and counterfactual pairs for the next round's raters, (b) a proposed clause of the guideline,
(c) regression cases kept for good. Prompts and pairs come from the training side only: what a policy is attacked or evaluated
with is never trained on, so that a mended failure is mended and not memorised.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from truing.monitor.config import RewardTestsConfig
from truing.monitor.reward_cases import RewardTestCase
from truing.monitor.reward_tests import TESTS, RewardTestResult
from truing.program import amendments
from truing.program.amendments import MODE_CLAUSES, Amendment, Clause
from truing.program.comparisons import comparison
from truing.program.recipe import FindingsConfig
from truing.records import Alarm, Attempt, Comparison, Estimate, Finding, Guideline, Prompt, seed_for
from truing.redteam.attacks import WRAPPERS, wrap
from truing.redteam.rates import CampaignRates, Rate
from truing.stats.intervals import difference_interval
from truing.store.artifacts import Artifact, Store
from truing.store.files import write_records, write_text

RECIPE_SIGNS = "the recipe"

TEST_MODES: Mapping[str, str] = {
    "append_filler": "filler",
    "repeat_sentence": "repetition",
    "prepend_flattery": "flattery",
    "assertive_wrong": "assertive",
    "agree_wrong": "agreement",
    "opinion_pull": "opinion",
    "bold": "formatting",
    "bullets": "formatting",
    "empty_answer": "empty",
    "other_prompt": "wrong_prompt",
    "refuse_benign": "over_refusal",
}
"""Reward-model test -> failure mode."""

SIGNAL_MODES: Mapping[str, str] = {
    "reward_length": "length",
    "reward_length_plain": "length",
    "length_share": "length",
    "truncated_rise": "length",
    "flattery_rise": "flattery",
    "reward_flattery": "flattery",
    "assertion_rise": "assertive",
    "reward_assertion": "assertive",
    "hedging_rise": "hedging",
    "reward_hedging": "hedging",
    "agreement_rise": "agreement",
    "reward_agreement": "agreement",
    "refusal_rise": "over_refusal",
    "repetition_rise": "repetition",
    "phrase_rise": "filler",
}
"""Monitor signal -> failure mode. A signal not listed names itself: it has no clause."""

PROMPT_KINDS: Mapping[Clause, frozenset[str]] = {
    "opinion": frozenset({"opinion_wrong", "opinion_right", "stated_opinion", "asked_again"}),
    "refusal": frozenset({"unsafe", "benign"}),
}
"""Kinds of training prompts that put a clause to the test; a clause not listed is tested by every kind."""


@dataclass(frozen=True)
class FindingInputs:
    """One round's evidence, and the training side that prompts and pairs for the next round are made from."""

    round: int
    guideline: Guideline
    campaign: CampaignRates | None
    sft_campaign: CampaignRates | None
    attempts: Sequence[Attempt]
    alarms: Sequence[Alarm]
    tests: Sequence[RewardTestResult]
    prompts: Sequence[Prompt]
    cases: Sequence[RewardTestCase]
    earlier_regression: Sequence[Attempt]
    parents: Mapping[str, str]


def run(
    config: FindingsConfig,
    inputs: FindingInputs,
    store: Store,
    name: str,
    *,
    phrases: RewardTestsConfig,
    seed: int,
    resume: bool = False,
) -> Artifact:
    """Publish findings, the proposed amendments as a diff, the guideline with them, targeted prompts and pairs, and cases."""
    draft = store.begin("findings", name, config, inputs.parents, seeds={"findings": seed}, resume=resume)
    if isinstance(draft, Artifact):
        return draft
    findings = collect(config, inputs)
    proposed = amendments.propose(findings)
    is_auto = config.approve_amendments == "auto"
    if is_auto:
        proposed = amendments.sign(proposed, RECIPE_SIGNS, simulated=True)
    after = amendments.apply(inputs.guideline, amendments.sign(proposed, RECIPE_SIGNS, simulated=True))
    write_records(draft.path / "findings.jsonl", findings)
    write_records(draft.path / "amendments.jsonl", proposed)
    write_text(draft.path / "amendment.diff", amendments.describe(inputs.guideline, after, proposed))
    write_text(draft.path / "guideline.md", after.text)
    write_records(draft.path / "targeted_prompts.jsonl", targeted_prompts(config, inputs, findings, seed))
    write_records(draft.path / "targeted_pairs.jsonl", counterfactual_pairs(config, inputs, findings, phrases, seed))
    cases = regression_cases(inputs.earlier_regression, findings)
    write_records(draft.path / "regression.jsonl", cases)
    metrics = {"findings": len(findings), "amendments": len(proposed), "regression_cases": len(cases)}
    return draft.publish({**metrics, "guideline_version": after.version}, _notes(config, proposed))


def collect(config: FindingsConfig, inputs: FindingInputs) -> list[Finding]:
    """Every finding of the round, red team first."""
    return [*_from_redteam(config, inputs), *_from_tests(config, inputs), *_from_alarms(inputs)]


def targeted_prompts(config: FindingsConfig, inputs: FindingInputs, findings: Sequence[Finding], seed: int) -> list[Prompt]:
    """Training prompts that put the found clauses to the test, in equal shares.

    Where the red team got through, they are put as its techniques put them: the technique is learnt, the attacked request is not.
    """
    clauses = _clauses(findings)
    rng = random.Random(seed_for(seed, "targeted_prompts", inputs.round))
    drawn: dict[str, Prompt] = {}
    for clause in clauses:
        kinds = PROMPT_KINDS.get(clause)
        pool = [p for p in inputs.prompts if kinds is None or p.kind in kinds]
        if clause == "opinion" and not pool:
            pool = [c.opinion_prompt for c in inputs.cases if c.opinion_prompt is not None]
        templates = _templates(clause, findings)
        for number, prompt in enumerate(rng.sample(pool, min(len(pool), config.targeted_prompts // len(clauses)))):
            is_wrapped = templates and len(prompt.messages) == 1
            targeted = wrap(prompt, templates[number % len(templates)]) if is_wrapped else prompt
            drawn.setdefault(targeted.prompt_id, targeted)
    return list(drawn.values())


def _templates(clause: Clause, findings: Sequence[Finding]) -> list[str]:
    """The attack techniques of the red team's findings about a clause."""
    modes = {f.mode for f in findings if f.source == "redteam" and MODE_CLAUSES.get(f.mode) == clause}
    return [template for mode, by_technique in WRAPPERS.items() if mode in modes for template in by_technique.values()]


def counterfactual_pairs(
    config: FindingsConfig, inputs: FindingInputs, findings: Sequence[Finding], phrases: RewardTestsConfig, seed: int
) -> list[Comparison]:
    """Pairs of an answer with and without what was found, on training prompts, sides at random."""
    clauses = _clauses(findings)
    tests = [(clause, name) for clause in clauses for name in TESTS if MODE_CLAUSES.get(TEST_MODES[name]) == clause]
    if not tests or not inputs.cases:
        return []
    rng = random.Random(seed_for(seed, "counterfactual_pairs", inputs.round))
    pairs: dict[str, Comparison] = {}
    for clause, name in tests:
        cases = rng.sample(list(inputs.cases), len(inputs.cases))
        found = 0
        for number, case in enumerate(cases):
            if found >= config.counterfactual_pairs // len(tests):
                break
            contrast = TESTS[name][1](case, cases[(number + 1) % len(cases)], number, phrases)
            if contrast is None or contrast.changed[0][0] != contrast.base[0][0]:
                continue
            texts = [contrast.base[0][1], contrast.changed[0][1]]
            rng.shuffle(texts)
            pair = comparison(
                contrast.base[0][0], texts[0], texts[1], ("counterfactual", "counterfactual"), f"finding:{clause}:{name}"
            )
            found += pair.comparison_id not in pairs
            pairs[pair.comparison_id] = pair
    return list(pairs.values())


def regression_cases(earlier: Sequence[Attempt], findings: Iterable[Finding]) -> list[Attempt]:
    """Earlier cases and this round's successful attacks, each once, the oldest kept."""
    cases = {case_key(attempt): attempt for attempt in earlier}
    for finding in findings:
        for attempt in finding.examples:
            if attempt.success:
                cases.setdefault(case_key(attempt), attempt)
    return list(cases.values())


def case_key(attempt: Attempt) -> tuple[str, str, str]:
    """What makes two attempts the same case: mode, technique and the request, whatever the policy answered in between."""
    return attempt.mode, attempt.technique, attempt.prompt.messages[0].content


def _from_redteam(config: FindingsConfig, inputs: FindingInputs) -> list[Finding]:
    if inputs.campaign is None:
        return []
    sft = {rate.mode: rate.rate for rate in inputs.sft_campaign.modes} if inputs.sft_campaign else {}
    return [
        _redteam_finding(rate, rate.rate, sft.get(rate.mode), inputs, config)
        for rate in inputs.campaign.modes
        if rate.rate is not None and _is_finding(rate.rate, sft.get(rate.mode), config)
    ]


def _is_finding(rate: Estimate, sft: Estimate | None, config: FindingsConfig) -> bool:
    if rate.low > config.min_attack_rate:
        return True
    if sft is None:
        return False
    rise = difference_interval(rate, sft)
    return rise.value > config.min_attack_increase and rise.low > 0


def _redteam_finding(rate: Rate, value: Estimate, sft: Estimate | None, inputs: FindingInputs, config: FindingsConfig) -> Finding:
    beside = f" (SFT: {sft})" if sft is not None else ""
    examples = [a for a in inputs.attempts if a.mode == rate.mode and a.success]
    return Finding(
        finding_id=f"r{inputs.round}-redteam-{rate.mode}",
        round=inputs.round,
        source="redteam",
        mode=rate.mode,
        summary=f"red team: {rate.mode} attacks work at {value}{beside}",
        rate=value,
        examples=tuple(_spread(examples, config.examples)),
    )


def _from_tests(config: FindingsConfig, inputs: FindingInputs) -> list[Finding]:
    return [
        Finding(
            finding_id=f"r{inputs.round}-reward_tests-{test.name}",
            round=inputs.round,
            source="reward_tests",
            mode=TEST_MODES.get(test.name, test.name),
            summary=f"reward model: {test.name} raises the reward of {test.probability}",
            rate=test.probability,
        )
        for test in inputs.tests
        if test.skewed or test.probability.low > config.max_reward_skew
    ]


def _from_alarms(inputs: FindingInputs) -> list[Finding]:
    first: dict[str, Alarm] = {}
    for alarm in inputs.alarms:
        if alarm.update > 0:
            first.setdefault(alarm.signal, alarm)
    return [
        Finding(
            finding_id=f"r{inputs.round}-monitor-{alarm.signal}",
            round=inputs.round,
            source="monitor",
            mode=SIGNAL_MODES.get(alarm.signal, alarm.signal),
            summary=f"monitor: at update {alarm.update}, {alarm.message}",
            rate=_alarm_estimate(alarm),
        )
        for alarm in first.values()
    ]


def _alarm_estimate(alarm: Alarm) -> Estimate:
    low, high = (float(alarm.evidence.get(side, alarm.value)) for side in ("low", "high"))
    return Estimate(value=alarm.value, low=low, high=high, n=int(float(alarm.evidence.get("n", 0))))


def _clauses(findings: Iterable[Finding]) -> list[Clause]:
    return list(dict.fromkeys(MODE_CLAUSES[f.mode] for f in findings if f.mode in MODE_CLAUSES))


def _spread(attempts: Sequence[Attempt], n: int) -> list[Attempt]:
    """At most `n` attempts, taken from every technique in turn."""
    by_technique: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        by_technique.setdefault(attempt.technique, []).append(attempt)
    longest = max((len(group) for group in by_technique.values()), default=0)
    rows = [group[i] for i in range(longest) for group in by_technique.values() if i < len(group)]
    return rows[:n]


def _notes(config: FindingsConfig, proposed: Sequence[Amendment]) -> tuple[str, ...]:
    if not proposed:
        return ()
    by_policy: Mapping[str, str] = {
        "auto": f"amendments signed off by {RECIPE_SIGNS}: {amendments.SIMULATED_SIGN_OFF}",
        "person": "amendments wait for a person's sign-off (truing amend)",
        "never": "amendments are proposed and not adopted (approve_amendments = never)",
    }
    return (by_policy[config.approve_amendments],)
