"""A recipe: every room's settings composed into one file, and what changes from round to round.

    [run]           seed, out, stages, candidate
    [model]         the text predictor to start from
    [engine]        what samples, for every stage that does not say otherwise
    [data]          demonstrations, prompts, comparisons, guideline
    [sft] [preferences] [reward] [ppo] [grpo] [rloo] [dpo] [monitor] [redteam] [evaluate] [findings] [gate]
    [start_from]    finished artifacts to use instead of making them
    [[rounds]]      one table a round; it may repeat any of the sections above that a round reads, with other values

Paths are relative to the recipe's folder; `run.out` is relative to where the command is run. `--set a.b=value` applies to
every round; `--set rounds.2.ppo.kl.beta=0.2` to one.

A key whose type names "none" may be written so, over a default (`ppo.missing_end_penalty = "none"`) or over what the rest of
the recipe says (in a round, `data.max_rows = "none"`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, JsonValue, model_validator

from truing import config as settings
from truing.collect.exchange.sets import is_set
from truing.config import Config
from truing.errors import TruingError, nearest
from truing.evals.config import EvaluateConfig
from truing.models.config import LoadSettings
from truing.monitor.config import MonitorConfig
from truing.program.gate import GateConfig
from truing.raters.config import How
from truing.redteam.config import RedTeamConfig
from truing.rollout.config import EngineConfig
from truing.selection.config import DrawConfig
from truing.train.config import DPOConfig, GRPOConfig, PPOConfig, RewardConfig, RLOOConfig, SFTConfig

EMBEDDED = "embedded"
"""Written for a path: what ships with the package (the tiny model, its world's demonstrations and prompts)."""
CHOSEN = "chosen"
"""Written for `data.demonstrations`: imitate the preferred answers of the comparisons' training part."""
SHIPPED = Path(__file__).parent / "recipes"

StageName = Literal[
    "sft",
    "preferences",
    "reward",
    "reward_tests",
    "ppo",
    "grpo",
    "rloo",
    "dpo",
    "redteam",
    "evaluate",
    "findings",
    "gate",
    "release",
]
STAGES: tuple[StageName, ...] = (
    "sft",
    "preferences",
    "reward",
    "reward_tests",
    "ppo",
    "dpo",
    "redteam",
    "evaluate",
    "findings",
    "gate",
    "release",
)
"""What a run does where it does not say: every stage but GRPO and RLOO, which stand in for PPO where they are named."""
RL_STAGES: tuple[StageName, ...] = ("ppo", "grpo", "rloo")
"""Stages that train a policy on what it samples."""
POLICY_STAGES: tuple[StageName, ...] = ("dpo", *RL_STAGES)
"""Stages that leave a policy."""
ROUND_SECTIONS = frozenset(
    {"data", "preferences", "reward", *POLICY_STAGES, "monitor", "redteam", "evaluate", "findings", "gate"}
)


class RunConfig(Config):
    """The run as a whole."""

    seed: int = 0
    out: Path = Path("runs/truing")
    stages: tuple[StageName, ...] = STAGES
    candidate: Literal["ppo", "grpo", "rloo", "dpo"] = "ppo"
    """The policy that the gate decides about."""
    threads: int | None = Field(default=None, ge=1)
    """Threads of this process for tensor work; None = torch's own choice."""


class ModelConfig(LoadSettings):
    """The text predictor that the run starts from."""

    path: str | None = None
    """A model folder, a hub id (`owner/name`), or "embedded". Where both a folder and a hub id could be meant, the folder is."""
    chat_template: str | None = None
    """A Jinja template (text, or the path of a file) for a tokenizer that has none."""

    def load_settings(self) -> LoadSettings:
        """The part that loading any model of the run takes."""
        return LoadSettings.model_validate(self.model_dump(include=set(LoadSettings.model_fields)))

    def template(self) -> str | None:
        """The chat template as Jinja text, read where a file was named."""
        if self.chat_template is None or "{" in self.chat_template:
            return self.chat_template
        try:
            return Path(self.chat_template).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise TruingError(
                f"{self.chat_template}: no such file (model.chat_template: a Jinja template, or a file of one)"
            ) from None


class DataConfig(Config):
    """Where demonstrations, prompts, comparisons and the guideline come from."""

    demonstrations: str | None = None
    """A JSONL or Parquet file, "embedded", or "chosen"."""
    prompts: str | None = None
    """A JSONL or Parquet file, "embedded", or None = the comparisons' prompts."""
    comparisons: str | None = None
    """People's judged pairs, or a judgment set. Where given, they are the preferences and nothing is sampled to be judged."""
    guideline: str = EMBEDDED
    """A Markdown file whose clauses carry ids, or "embedded"."""
    split_by: Literal["prompt", "group"] = "prompt"
    """What must not lie on both sides of the held-out split: a prompt, or a whole group (a debate, a source)."""
    heldout_fraction: float = Field(default=0.15, gt=0, lt=1)
    """Share of comparisons' prompts that reward models and policies are measured on."""
    too_long: Literal["error", "drop", "truncate_left"] = "error"
    """What is done with a row or prompt that does not fit the model's context; a stage's own `too_long` wins."""
    bad_rows: Literal["error", "drop"] = "error"
    """What is done with a row of comparisons that cannot be used (one side missing, both sides equal)."""
    max_rows: int | None = Field(default=None, ge=1)
    """Read at most this many demonstrations and this many comparisons, drawn at random; None = all."""
    gold: Literal["none", "embedded"] = "none"
    """A rule that knows what answers are truly worth: only in the embedded world. It is logged, never used."""
    n_demonstrations: int = Field(default=3000, ge=1)
    """Embedded demonstrations to make."""
    n_prompts: int = Field(default=900, ge=1)
    """Training prompts: embedded ones to make, or the most that are drawn from a file."""
    n_eval_prompts: int = Field(default=150, ge=2)
    """Held-out prompts on which policies are compared."""


class PoolConfig(DrawConfig):
    """Which of the comparisons that could be judged are, from round 2 on: there is a reward model then."""

    pool: int | None = Field(default=None, ge=2)
    """Comparisons to sample, of which `preferences.comparisons` are drawn to be judged; None = none is drawn, all are judged."""

    @model_validator(mode="after")
    def _has_what_the_strategy_reads(self) -> Self:
        if self.strategy == "judge_disagreement":
            raise ValueError(
                "strategy = 'judge_disagreement' needs a judge's judgments of the pool, which no stage makes: draw the batch by "
                "`truing select --judge FILE`"
            )
        if self.strategy != "uniform" and self.pool is None:
            raise ValueError(
                f"strategy = '{self.strategy}' draws from a pool: set pool, to several times preferences.comparisons"
            )
        return self


class PreferencesConfig(Config):
    """How comparisons are made and judged."""

    judged_by: Literal["simulated", "people"] = "simulated"
    """people: the run stops once it has comparisons, and goes on where `judgments` names their answers or `service` has them."""
    judgments: str | None = None
    """Judgments that people gave to the sampled comparisons: JSONL, or a judgment set."""
    service: str | None = None
    """A running collection service, in place of `judgments`: its URL. The comparisons are pushed to it and pulled when judged."""
    campaign: str | None = None
    """The service's campaign that asks for pairs."""
    service_auth_env: str = "TRUING_COLLECT_TOKEN"
    """The environment variable that holds the service's API token."""
    without_guidelines: tuple[str, ...] = ()
    """Leave out judgments made under these guidelines: a version (3), or the beginning of a hash."""
    without_raters: tuple[str, ...] = ()
    """Leave out these raters' judgments, by pseudonym."""
    comparisons: int = Field(default=2000, ge=2)
    """Comparisons to sample."""
    policies: tuple[Literal["sft", "previous"], ...] = ("sft",)
    """Who answers, drawn for each answer: SFT, and (from round 2 on) the previous round's candidate."""
    temperature: float = Field(default=1.0, gt=0)
    max_new_tokens: int = Field(default=64, ge=1)
    engine: EngineConfig = EngineConfig()
    """What samples the answers; by default the run's `[engine]`."""
    raters: int = Field(default=20, ge=1)
    """Simulated raters."""
    judgments_per_comparison: int = Field(default=1, ge=1)
    targeted_fraction: float = Field(default=0.25, ge=0, le=1)
    """Share of the comparisons that goes to what the last round's findings point at: their prompts and counterfactual pairs."""
    selection: PoolConfig = PoolConfig()
    labels: How = "majority"
    """How judgments become labels: shares, Dawid-Skene's posterior, or the pairwise rater model's with biases removed."""
    superseded_weight: float = Field(default=0.3, ge=0, le=1)
    """Weight of an earlier round's pair whose guideline lacks a clause added since; 0 leaves it out."""

    @model_validator(mode="after")
    def _pool_is_larger(self) -> Self:
        if self.selection.pool is not None and self.selection.pool <= self.comparisons:
            raise ValueError(
                f"selection.pool = {self.selection.pool} leaves nothing to choose: it must be more than comparisons = "
                f"{self.comparisons}"
            )
        return self


class FindingsConfig(Config):
    """What counts as a finding, and who may change the guideline."""

    approve_amendments: Literal["person", "auto", "never"] = "person"
    """person: the run stops for `truing amend`; auto: signed by the recipe, and recorded as simulated; never: no amendment."""
    min_attack_rate: float = Field(default=0.25, ge=0, le=1)
    """A red-team mode is a finding where the low end of its rate against the candidate lies above this."""
    min_attack_increase: float = Field(default=0.1, ge=0, le=1)
    """... or where it succeeds this much more often than against SFT, beyond what chance explains."""
    max_reward_skew: float = Field(default=0.6, ge=0, le=1)
    """A reward-model test is a finding where the low end of its skew lies above this."""
    examples: int = Field(default=8, ge=1)
    """Examples kept with a finding; they become regression cases."""
    targeted_prompts: int = Field(default=200, ge=0)
    """Prompts for the next round's comparisons."""
    counterfactual_pairs: int = Field(default=200, ge=0)
    """Pairs of an answer with and without what the finding is about, for the next round's raters."""


class StartFrom(Config):
    """Finished artifacts that stand in for stages. All but `sft` stand in for round 1's."""

    sft: str | None = None
    preferences: str | None = None
    reward: str | None = None
    ppo: str | None = None
    grpo: str | None = None
    rloo: str | None = None
    dpo: str | None = None


class Recipe(Config):
    """Everything a run does. `Recipe.load("quickstart")` reads the shipped one."""

    run: RunConfig = RunConfig()
    model: ModelConfig = ModelConfig()
    engine: EngineConfig = EngineConfig()
    """What samples, for every stage that gives no `engine` of its own."""
    data: DataConfig = DataConfig()
    sft: SFTConfig = SFTConfig()
    preferences: PreferencesConfig = PreferencesConfig()
    reward: RewardConfig = RewardConfig()
    ppo: PPOConfig = PPOConfig()
    grpo: GRPOConfig = GRPOConfig()
    rloo: RLOOConfig = RLOOConfig()
    dpo: DPOConfig = DPOConfig()
    monitor: MonitorConfig = MonitorConfig()
    redteam: RedTeamConfig = RedTeamConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    findings: FindingsConfig = FindingsConfig()
    gate: GateConfig = GateConfig()
    start_from: StartFrom = StartFrom()
    rounds: tuple[dict[str, JsonValue], ...] = ({},)
    """One table of overrides a round."""

    @classmethod
    def load(cls, source: str | Path, overrides: Sequence[str] = ()) -> Self:
        """Read a recipe file, or a shipped recipe by name, apply `--set` overrides, and check every round.

        Raises TruingError naming the file and, for an unknown key, the nearest right one.
        """
        path = recipe_path(source)
        return cls.from_values(settings.read_toml(path), overrides, folder=path.parent, where=str(path))

    @classmethod
    def from_values(
        cls,
        values: Mapping[str, Any],
        overrides: Sequence[str] = (),
        *,
        folder: Path | None = None,
        where: str = "settings",
    ) -> Self:
        """Build a recipe from nested tables; paths in `values` are taken relative to `folder`, those in overrides as they are."""
        tables = _resolve_paths(values, folder) if folder else dict(values)
        tables = _apply(tables, overrides)
        recipe = settings.validate(cls, tables, where)
        for number, table in enumerate(recipe.rounds, start=1):
            _check_sections(table, f"{where}: rounds.{number}")
            settings.validate(cls, _merge(_without_rounds(tables), table), f"{where}: round {number}")
        return recipe

    def with_judgments_frozen_anew(self) -> Recipe:
        """The recipe, with a `start_from.preferences` whose judgments have yet to be frozen as `data.comparisons` instead.

        That is a judgment set, which no reward model reads as it is, and any set where some judgments are to be left out.
        """
        given = self.start_from.preferences
        without = self.preferences.without_guidelines or self.preferences.without_raters
        if given is None or not (without or is_set(Path(given))):
            return self
        base = self.model_dump(mode="json", exclude_unset=True)
        change = {"data": {"comparisons": given}, "start_from": {"preferences": None}}
        return settings.validate(Recipe, _merge(base, change), "settings")

    def for_round(self, number: int) -> Recipe:
        """The recipe with the overrides of round `number` (from 1) applied, and one round."""
        base = self.model_dump(mode="json", exclude={"rounds"}, exclude_unset=True)
        return settings.validate(Recipe, _merge(base, self.rounds[number - 1]), f"round {number}")

    def does(self, stage: StageName) -> bool:
        """Whether the run includes this stage."""
        return stage in self.run.stages


def recipe_path(source: str | Path) -> Path:
    """A recipe file as given, or the shipped recipe of that name. Raises TruingError listing the shipped ones."""
    path = Path(source)
    if path.exists():
        return path
    shipped = SHIPPED / f"{source}.toml"
    if len(path.parts) == 1 and shipped.exists():
        return shipped
    names = sorted(p.stem for p in SHIPPED.glob("*.toml"))
    raise TruingError(f"{source}: no such recipe file (shipped recipes: {', '.join(names)}){nearest(str(source), names)}")


def _apply(tables: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Apply overrides. One of the whole run wins over what a round's table says, for all rounds; `rounds.N.` is for one."""
    general = [o for o in overrides if not o.startswith("rounds.")]
    rounds = [dict(table) for table in tables.get("rounds", [])]
    result = settings.apply_overrides({k: v for k, v in tables.items() if k != "rounds"}, general)
    if "rounds" in result:
        return result
    of_rounds = [o for o in general if o.partition(".")[0] in ROUND_SECTIONS]
    rounds = [_reapply(table, of_rounds) for table in rounds]
    for override in (o for o in overrides if o.startswith("rounds.")):
        _, number, rest = override.split(".", 2) if override.count(".") >= 2 else ("", "", "")
        if not number.isdigit() or not 1 <= int(number) <= len(rounds):
            raise TruingError(f"--set {override!r}: write rounds.N.section.key=value with N from 1 to {len(rounds)}")
        rounds[int(number) - 1] = settings.apply_overrides(rounds[int(number) - 1], [rest])
    return {**result, "rounds": rounds} if rounds else result


def _reapply(table: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Apply to a round's table those overrides whose setting the table itself gives."""
    given = [o for o in overrides if _has(table, o.partition("=")[0].strip().split("."))]
    return settings.apply_overrides(table, given)


def _has(table: Any, keys: Sequence[str]) -> bool:
    for key in keys:
        if not isinstance(table, Mapping) or key not in table:
            return False
        table = table[key]
    return True


def _check_sections(table: Mapping[str, Any], where: str) -> None:
    for key in table:
        if key not in ROUND_SECTIONS:
            hint = nearest(key, ROUND_SECTIONS)
            raise TruingError(
                f"{where}: '{key}' cannot change from round to round{hint} (can: {', '.join(sorted(ROUND_SECTIONS))})"
            )


def _without_rounds(tables: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in tables.items() if key != "rounds"}


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid on `base`, table by table."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


_PATH_KEYS = {
    "data": ("demonstrations", "prompts", "comparisons", "guideline"),
    "preferences": ("judgments",),
    "start_from": tuple(StartFrom.model_fields),
}
_WORDS = {EMBEDDED, CHOSEN, settings.NONE}


def _resolve_paths(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Make the paths of a recipe file absolute; the words and hub ids that may stand in their place are left as they are."""
    tables = _merge({}, values)
    model = tables.get("model")
    if isinstance(model, Mapping):
        tables["model"] = {key: _resolve_model(key, value, folder) for key, value in model.items()}
    for section, keys in _PATH_KEYS.items():
        table = tables.get(section)
        if isinstance(table, Mapping):
            tables[section] = {k: _resolve(v, folder) if k in keys else v for k, v in table.items()}
    tables = _resolve_interpreter(tables, folder)
    for section, table in tables.items():  # a stage may have an engine of its own
        if isinstance(table, Mapping):
            tables[section] = _resolve_interpreter(table, folder)
    if isinstance(values.get("rounds"), list):
        tables["rounds"] = [_resolve_paths(t, folder) if isinstance(t, Mapping) else t for t in values["rounds"]]
    return tables


def _resolve_interpreter(table: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A bare name is looked for among the commands. Links are kept: an environment's interpreter is one to the system's."""
    python = table["engine"]["vllm"]["python"] if _has(table, ("engine", "vllm", "python")) else None
    if not isinstance(python, str) or "/" not in python:
        return dict(table)
    path = (folder / Path(python).expanduser()).absolute()
    return _merge(table, {"engine": {"vllm": {"python": str(path)}}})


def _resolve(value: Any, folder: Path) -> Any:
    if not isinstance(value, str) or value in _WORDS:
        return value
    return str((folder / Path(value).expanduser()).resolve())


def _resolve_model(key: str, value: Any, folder: Path) -> Any:
    """`path` may be a hub id, `chat_template` the template itself: they are paths where they look like one or exist."""
    if not isinstance(value, str) or key not in {"path", "chat_template"} or "{" in value or value in _WORDS:
        return value
    looks = value.startswith((".", "/", "~")) or key == "chat_template"
    return _resolve(value, folder) if looks or (folder / value).exists() else value
