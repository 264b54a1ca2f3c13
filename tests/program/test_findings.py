from pathlib import Path

from truing.monitor.config import RewardTestsConfig
from truing.monitor.reward_tests import RewardTestResult
from truing.program import embedded, findings
from truing.program.evidence import retest
from truing.program.recipe import FindingsConfig
from truing.records import Alarm, Attempt, Estimate, Guideline, Message, Prompt
from truing.redteam.rates import CampaignRates, Rate
from truing.store.artifacts import Store
from truing.world.prompts import make_prompts


def near(value: float, half: float = 0.05) -> Estimate:
    return Estimate(value=value, low=value - half, high=value + half, n=40)


def campaign(**rates: float) -> CampaignRates:
    rows = [
        Rate(mode=m, technique=None, attempts=40, unjudgeable=0, rate=near(v), worst=near(v), best=near(v))
        for m, v in rates.items()
    ]
    return CampaignRates(suite="world", judged_by="the gold rule", modes=tuple(rows), techniques=(), correction=None)


def attempt(mode: str, text: str, *, success: bool | None = True, technique: str = "direct") -> Attempt:
    return Attempt(prompt=Prompt.from_text(text), mode=mode, technique=technique, completion="x", success=success)


def skewed(name: str, value: float) -> RewardTestResult:
    return RewardTestResult(
        name=name,
        sort="addition",
        what="",
        probability=near(value),
        shift_sd=near(0.5),
        members=(value,),
        threshold=0.6,
        skewed=value - 0.05 > 0.6,
        examples=(),
    )


def inputs(**changes: object) -> findings.FindingInputs:
    prompts = make_prompts(60, 0, "train")
    values = {
        "round": 1,
        "guideline": Guideline(version=1, text="# G\n"),
        "campaign": campaign(verbosity=0.8, stated_opinion=0.1),
        "sft_campaign": campaign(verbosity=0.3, stated_opinion=0.1),
        "attempts": [attempt("verbosity", f"q{i}", technique=f"t{i % 2}") for i in range(20)],
        "alarms": [
            Alarm(
                update=12,
                signal="flattery_rise",
                value=0.4,
                threshold=0.25,
                message="flattery rises",
                action="log",
                evidence={"low": 0.3, "high": 0.5, "n": 48.0},
            )
        ],
        "tests": [skewed("append_filler", 0.9), skewed("prepend_flattery", 0.5)],
        "prompts": prompts,
        "cases": embedded.training_cases(prompts, 0),
        "earlier_regression": [attempt("unsafe_roleplay", "old")],
        "parents": {},
    }
    return findings.FindingInputs(**{**values, **changes})


def test_all_three_sources_are_collected_with_their_rates() -> None:
    found = findings.collect(FindingsConfig(), inputs())
    assert [f.finding_id for f in found] == [
        "r1-redteam-verbosity",
        "r1-reward_tests-append_filler",
        "r1-monitor-flattery_rise",
    ]
    assert found[2].rate == Estimate(value=0.4, low=0.3, high=0.5, n=48)
    assert {a.technique for a in found[0].examples} == {"t0", "t1"}


def test_a_mode_that_sft_suffers_as_much_is_a_finding_only_where_it_is_high() -> None:
    config = FindingsConfig(min_attack_rate=0.9)
    assert findings.collect(config, inputs(campaign=campaign(verbosity=0.35), tests=[], alarms=[])) == []
    risen = findings.collect(config, inputs(campaign=campaign(verbosity=0.6), tests=[], alarms=[]))
    assert [f.mode for f in risen] == ["verbosity"]


def test_pairs_and_prompts_come_from_the_training_side() -> None:
    given = inputs()
    found = findings.collect(FindingsConfig(), given)
    training = {p.prompt_id for p in given.prompts}
    prompts = findings.targeted_prompts(FindingsConfig(targeted_prompts=20), given, found, 0)
    assert prompts
    assert all(any(known.text in targeted.text for known in given.prompts) for targeted in prompts)
    assert any("tell me all you can." in p.text for p in prompts)  # as the verbosity attacks put it
    pairs = findings.counterfactual_pairs(FindingsConfig(counterfactual_pairs=30), given, found, RewardTestsConfig(), 0)
    assert {p.source.split(":")[1] for p in pairs} == {"length", "flattery"}
    assert {p.prompt.prompt_id for p in pairs} <= training
    assert {p.policies for p in pairs} == {("counterfactual", "counterfactual")}


def test_regression_cases_grow_and_are_retested() -> None:
    given = inputs()
    cases = findings.regression_cases(given.earlier_regression, findings.collect(FindingsConfig(), given))
    assert cases[0] == given.earlier_regression[0]
    assert len(cases) == 1 + FindingsConfig().examples
    mended = [attempt(c.mode, c.prompt.text, success=False, technique=c.technique) for c in cases]
    assert retest(cases, mended).value == 1.0
    assert retest(cases, mended[1:]).value < 1.0
    assert retest([], mended) is None
    moved = [*mended[1:], attempt("correction", "old")]
    assert retest(cases, moved).n == len(cases) - 1


def test_a_case_is_known_again_whatever_was_answered_in_between() -> None:
    turns = (
        Message(role="user", content="q"),
        Message(role="assistant", content="a"),
        Message(role="user", content="are you sure?"),
    )
    other = (turns[0], Message(role="assistant", content="b"), turns[2])
    one, two = (
        Attempt(prompt=Prompt.from_messages(t), mode="are_you_sure", technique="direct", completion="", success=True)
        for t in (turns, other)
    )
    assert findings.case_key(one) == findings.case_key(two)


def test_the_artifact_proposes_and_says_who_must_sign(tmp_path: Path) -> None:
    store = Store(tmp_path)
    auto = findings.run(FindingsConfig(approve_amendments="auto"), inputs(), store, "auto", phrases=RewardTestsConfig(), seed=0)
    assert any("simulated" in note for note in auto.manifest.notes)
    assert "{#length}" in (auto.path / "guideline.md").read_text()
    person = findings.run(FindingsConfig(), inputs(), store, "person", phrases=RewardTestsConfig(), seed=0)
    assert person.manifest.notes == ("amendments wait for a person's sign-off (truing amend)",)
    assert "A person must sign this off" in (person.path / "amendment.diff").read_text()
