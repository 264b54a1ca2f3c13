"""What the stages of one round share: the recipe as it stands for the round, the store, who watches, and what is made."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from truing.config import Config
from truing.errors import TruingError
from truing.evals.config import EvaluateConfig
from truing.models.config import LoadSettings
from truing.program.progress import Watch
from truing.program.recipe import EMBEDDED, Recipe
from truing.records import Progress, content_hash, seed_for
from truing.redteam.config import RedTeamConfig
from truing.store.artifacts import MANIFEST, Artifact, Store, hash_input, read_artifact
from truing.store.files import disk_errors
from truing.train.config import StageConfig
from truing.world.assets import base_model_path

ConfigT = TypeVar("ConfigT", bound=Config)
StageConfigT = TypeVar("StageConfigT", bound=StageConfig)
MeasuringT = TypeVar("MeasuringT", EvaluateConfig, RedTeamConfig)


@dataclass(frozen=True)
class Bench:
    """Where one round's stages work. `recipe` has the round's overrides applied."""

    recipe: Recipe
    store: Store
    watch: Watch
    resume: bool = False
    number: int = 1
    in_rounds: bool = True
    """False where a stage runs alone: its artifacts then lie at the root, not under round-N."""

    def name(self, stage: str) -> str:
        """An artifact's name: `round-1/ppo`, or `ppo` for a stage that runs alone."""
        return f"round-{self.number}/{stage}" if self.in_rounds else stage

    def has(self, name: str) -> bool:
        """Whether an artifact of that name is finished."""
        return (self.store.root / name / MANIFEST).exists()

    def path(self, name: str) -> Path:
        """Where an artifact lies. Raises TruingError where it is not finished."""
        return self.store.read(name).path

    @contextmanager
    def stage(self, name: str) -> Iterator[Progress]:
        """Progress of one stage, shown under its name."""
        with self.watch.stage(name.replace("/", " "), kept=self.has(name)) as progress:
            yield progress

    def seed(self, *labels: str | int) -> int:
        """A seed of the run for these labels; the same in every round unless the round is among them."""
        return seed_for(self.recipe.run.seed, *labels)

    def settle(self, config: StageConfigT, stage: str) -> StageConfigT:
        """A training stage's settings with the run's seed, device, template, length rule and engine where it gives none."""
        return self.complete(
            config,
            seed=self.seed(stage, self.number),
            load=self.load.model_dump(),
            chat_template=self.chat_template,
            too_long=self.recipe.data.too_long,
        )

    def settle_measuring(self, config: MeasuringT, stage: str) -> MeasuringT:
        """As `settle`, for a stage that samples and trains nothing. Its seed is that of every round: policies are compared."""
        return self.complete(config, seed=self.seed(stage) % 2**31)

    def complete(self, config: ConfigT, **defaults: Any) -> ConfigT:
        """`config` with `defaults`, and the run's engine where it samples, for what it does not give."""
        if "engine" in type(config).model_fields:
            defaults["engine"] = self.recipe.engine
        return config.with_changes(**{key: value for key, value in defaults.items() if key not in config.model_fields_set})

    def at_round(self, number: int, recipe: Recipe) -> Bench:
        """The bench of another round."""
        return replace(self, number=number, recipe=recipe)

    @property
    def load(self) -> LoadSettings:
        """How models are put on a device."""
        return self.recipe.model.load_settings()

    @property
    def chat_template(self) -> str | None:
        """The recipe's template as Jinja text, read where a file was named."""
        return self.recipe.model.template()

    @property
    def base(self) -> str:
        """The model that the run starts from. Raises TruingError where the recipe names none."""
        if self.recipe.model.path is None:
            raise TruingError("no model to start from: set model.path in the recipe, or --model (a folder, a hub id, 'embedded')")
        return resolve_model(self.recipe.model.path)


def resolve_model(model: str) -> str:
    """A model's folder or hub id; "embedded" is the shipped base model."""
    return str(base_model_path()) if model == EMBEDDED else model


def model_hash(model: str | Path) -> str:
    """Content hash of an artifact or model folder; of its name for a model on the hub."""
    return hash_input(Path(model)) if Path(model).exists() else content_hash({"hub": str(model)})


def adopt(store: Store, source: Path, name: str) -> Artifact:
    """Take a finished artifact of another run over under `name`: its files linked (or copied), its manifest and hash kept.

    Raises TruingError where `source` is no artifact, or `name` holds another one.
    """
    given = read_artifact(source)
    target = store.root / name
    if (target / MANIFEST).exists():
        if store.read(name).artifact_hash != given.artifact_hash:
            raise TruingError(f"{target}: holds another artifact than {source}. Choose another --out, or remove that folder.")
        return store.read(name)
    draft = target.with_name(target.name + ".partial")
    shutil.rmtree(draft, ignore_errors=True)
    with disk_errors(target):
        shutil.copytree(given.path, draft, copy_function=_link)
        draft.rename(target)
    return store.read(name)


def _link(source: str, target: str) -> None:
    """A hard link where the file system has them, else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
