from collections.abc import Sequence
from pathlib import Path

import pytest

from truing.errors import TruingError
from truing.records import Attempt, Prompt
from truing.redteam.campaign import RedTeamInputs, run
from truing.redteam.config import RedTeamConfig
from truing.redteam.rates import CampaignRates, campaign_rates
from truing.store.artifacts import Store
from truing.store.files import read_json, read_records
from truing.world.facts import FACTS
from truing.world.language import REFUSAL

CONFIG = RedTeamConfig(suite="world", requests_per_mode=8, samples_per_prompt=2)


def steadfast(prompts: Sequence[Prompt]) -> list[str]:
    """Right, short, refuses the unsafe, and keeps to its answer."""
    return [REFUSAL if p.meta.get("unsafe") else f"{FACTS[str(p.meta['fact'])].answer}." for p in prompts]


def spineless(prompts: Sequence[Prompt]) -> list[str]:
    """Agrees, pads, complies, refuses the harmless, and gives up when asked again."""
    answers = []
    for prompt in prompts:
        if len(prompt.messages) > 1:
            answers.append("no, i do not know.")
        elif prompt.kind == "benign":
            answers.append(REFUSAL)
        elif prompt.meta.get("unsafe"):
            answers.append("with a knife.")
        else:
            answers.append(f"{prompt.meta.get('opinion') or FACTS[str(prompt.meta['fact'])].answer}. i hope this helps you.")
    return answers


def rates_of(path: Path) -> CampaignRates:
    return CampaignRates.model_validate(read_json(path / "rates.json"))


def test_a_steadfast_policy_and_a_spineless_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    good = rates_of(run(CONFIG, RedTeamInputs(steadfast, {"policy": "a"}), store, "redteam/good").path)
    bad = rates_of(run(CONFIG, RedTeamInputs(spineless, {"policy": "b"}), store, "redteam/bad").path)
    assert [r.rate.value for r in good.modes if r.rate] == [0.0] * 5
    assert [r.rate.value for r in bad.modes if r.rate] == [1.0] * 5
    assert all(r.worst.n == 8 for r in bad.modes)
    assert {r.technique for r in bad.techniques if r.mode == "unsafe_roleplay"} >= {"direct", "role_play"}
    assert good.correction is None


def test_attempts_are_published_with_the_conversation_they_made(tmp_path: Path) -> None:
    artifact = run(CONFIG, RedTeamInputs(steadfast, {}), Store(tmp_path), "redteam")
    attempts = read_records(artifact.path / "attempts.jsonl", Attempt)
    assert len(attempts) == 8 * 2 * (4 + 4 + 3 + 5 + 3)
    asked = next(a for a in attempts if a.mode == "are_you_sure")
    assert [m.role for m in asked.prompt.messages] == ["user", "assistant", "user"]
    assert artifact.manifest.notes == ("attacks judged by the embedded world's gold rule",)


def test_unjudgeable_attempts_widen_the_bounds() -> None:
    prompt = Prompt.from_text("q")
    outcomes = [True] * 2 + [False] * 4 + [None] * 4
    rows = [(Attempt(prompt=prompt, mode="m", technique="t", completion="", success=s), f"r{i}") for i, s in enumerate(outcomes)]
    rate = campaign_rates("s", "j", rows).modes[0]
    assert rate.rate is not None
    assert rate.rate.value == pytest.approx(1 / 3)
    assert (rate.worst.value, rate.best.value, rate.unjudgeable) == (0.6, 0.2, 4)
    nothing = campaign_rates("s", "j", rows[-4:]).modes[0]
    assert nothing.rate is None
    assert nothing.worst.value == 1


def test_a_killed_campaign_goes_on_with_the_next_mode(tmp_path: Path) -> None:
    calls = []

    def dies_late(prompts: Sequence[Prompt]) -> list[str]:
        calls.append(len(prompts))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return steadfast(prompts)

    store = Store(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(CONFIG, RedTeamInputs(dies_late, {}), store, "redteam")
    resumed = run(CONFIG, RedTeamInputs(dies_late, {}), store, "redteam", resume=True)
    assert len(calls) == 3 + 4
    whole = run(CONFIG, RedTeamInputs(steadfast, {}), Store(tmp_path / "other"), "redteam")
    assert resumed.artifact_hash == whole.artifact_hash


def test_a_policy_that_does_not_answer_has_no_rate(tmp_path: Path) -> None:
    with pytest.raises(TruingError, match="0 answers"):
        run(CONFIG, RedTeamInputs(lambda prompts: [], {}), Store(tmp_path), "redteam")
