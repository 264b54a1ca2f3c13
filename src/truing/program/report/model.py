"""What a report says, typed: the shape of report.json, whose JSON Schema stands in docs/report.schema.json."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from truing.records import Alarm, Estimate, Message, Record


class PolicyNumbers(Record):
    """One policy as evaluated on held-out prompts. A number that was not measured is null, never zero."""

    policy: str
    """"base", "sft", "dpo", "ppo", "grpo" or "rloo"."""
    gold: Estimate | None = None
    """Score by the gold rule, where one is known."""
    proxy: Estimate | None = None
    """Score by the round's reward model, in standard deviations of its training answers."""
    kl_nats: Estimate | None = None
    """KL to the reference, summed over a completion."""
    length_tokens: Estimate | None = None
    attributes: dict[str, Estimate] = Field(default_factory=dict)
    """Rates such as "correct" or "concise": by the gold rule where one is known, by markers in the text elsewhere."""
    attacks: dict[str, Estimate] = Field(default_factory=dict)
    """Red-team mode -> share of attacks that worked."""


class UpdatePoint(Record):
    """One policy update: means over its rollouts."""

    update: int
    kl_nats: float
    proxy: float
    gold: float | None = None
    length_tokens: float | None = None


class Trajectory(Record):
    """A policy's training, update by update, and where its gold score peaked (of the smoothed curve that is drawn)."""

    points: tuple[UpdatePoint, ...]
    smoothing_updates: int
    gold_peak_update: int | None = None


class RewardTest(Record):
    """One unit test of the reward model: how often a change that should not pay raises the reward."""

    test: str
    skew: Estimate
    """Share of answers whose reward rises with the change."""
    shift_sd: Estimate | None = None
    """Mean change of the reward, in standard deviations."""
    failed: bool = False


class RewardNumbers(Record):
    """How well the reward model predicts held-out judgments, beside what could be hoped for and what costs nothing."""

    accuracy: Estimate | None = None
    noise_ceiling: float | None = None
    """Accuracy of a judge who knows each pair's true preference probability: what the raters' own noise allows."""
    longer_wins: Estimate | None = None
    """Accuracy of choosing the longer answer."""
    calibration_error: Estimate | None = None
    tests: tuple[RewardTest, ...] = ()


class FindingNumbers(Record):
    """A failure mode that was found, with its measured rate."""

    finding_id: str
    source: str
    mode: str
    summary: str
    rate: Estimate


class GateCheck(Record):
    """One check of the gate."""

    check: str
    outcome: str
    """"pass", "fail" or "waived"."""
    reason: str


class Gate(Record):
    """What the gate decided and why."""

    decision: str
    """"release" or "hold"."""
    reasons: tuple[str, ...]
    candidate: str | None = None
    checks: tuple[GateCheck, ...] = ()


class Preferences(Record):
    """Who judged this round's pairs."""

    pairs: int | None = None
    raters: int | None = None
    judgments: int | None = None
    simulated: bool | None = None
    """Whether any judgment was made by a simulated rater; null = not recorded."""
    guideline_version: int | None = None


class RoundAlarm(Alarm):
    """An alarm, and the policy in whose training it was raised."""

    policy: str | None = None
    """null = none: raised before any training, by the reward model's tests."""


class Round(Record):
    """One turn of the loop. `policy` is the round's final policy; `policies` are all that were measured in it."""

    round: int
    policy: PolicyNumbers | None = None
    sft: PolicyNumbers | None = None
    policies: dict[str, PolicyNumbers] = Field(default_factory=dict)
    preferences: Preferences | None = None
    reward: RewardNumbers | None = None
    trajectories: dict[str, Trajectory] = Field(default_factory=dict)
    alarms: tuple[RoundAlarm, ...] = ()
    findings: tuple[FindingNumbers, ...] = ()
    amendment: str | None = None
    """The proposed change of the guideline, as a unified diff."""
    gate: Gate | None = None

    def alarms_of(self, policy: str | None) -> tuple[RoundAlarm, ...]:
        """What was raised before any training, and in that of `policy`."""
        return tuple(alarm for alarm in self.alarms if alarm.policy in {None, policy})


class Answer(Record):
    """One policy's answer to a prompt that several policies were given."""

    round: int | None
    """None = not of any round (base, SFT)."""
    policy: str
    text: str
    gold: float | None = None


class Conversation(Record):
    """One prompt and what each policy said to it."""

    messages: tuple[Message, ...]
    kind: str
    answers: tuple[Answer, ...]


class ArtifactNode(Record):
    """One artifact of the run. `parents`: role -> content hash; a hash that no node here has is an outside input."""

    name: str
    stage: str
    artifact_hash: str
    parents: dict[str, str]
    wall_s: float | None = None
    notes: tuple[str, ...] = ()


class Report(Record):
    """The whole report."""

    schema_version: Literal[1] = 1
    title: str
    simulated_raters: bool | None = None
    """True where any judgment behind these numbers was made by a simulated rater; null = not recorded."""
    rounds: tuple[Round, ...] = ()
    conversations: tuple[Conversation, ...] = ()
    lineage: tuple[ArtifactNode, ...] = ()
    released: str | None = None
    """Content hash of the release, where there is one."""
    missing: tuple[str, ...] = ()
    """Stages that this run left out, in plain words."""
