"""The TOML file of `flywheel pipeline`, which configures the steps of one run.

Each table is a step. A step without a table is skipped, except training, which has defaults. An unknown or invalid
value raises an error of one sentence. This module knows nothing of services.
"""

from __future__ import annotations

import tomllib
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, Field, ValidationError, model_validator

from shared.settings.services import SettingsError
from shared.storage.file_errors import cause_of
from shared.wire.dataset import SplitPost
from shared.wire.fields import Message
from shared.wire.jobs import Criteria, VersionName
from shared.wire.models import TrainConfig

StepName = Literal["split", "clone", "train", "evaluate", "compare", "promote"]
STEPS: tuple[StepName, ...] = get_args(StepName)
IN_USE = "in_use"
"""Stands for the promoted version. If none is promoted, the current model is saved and used."""
Share = Annotated[float, Field(ge=0, le=1)]


class Clone(Message):
    """The version whose configuration the new one copies, and which it must beat."""

    version: VersionName = IN_USE


class Evaluate(Message):
    """What the new version must reach on the test images before it is compared."""

    at_least: dict[Literal["accuracy", "macro_f1"], Share] = Field(default_factory=dict)


class Compare(Criteria):
    """When the new version counts as better than `base`: the one that was cloned if none is named."""

    base: VersionName | None = None


class Promote(Message):
    """What to do after the decision."""

    delete_discarded: bool = False  # delete a version that is not better


class Pipeline(Message):
    """The contents of the file."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,60}$")]
    version: VersionName | None = None  # the new version; without `train`, the existing version to process
    hours: Annotated[float, Field(gt=0, le=10_000)] = 12.0  # maximum duration of a run
    labeler_url: str | None = None  # like the option; by default from the workspace
    trainer_url: str | None = None
    skip: list[StepName] = Field(default_factory=list)
    split: SplitPost | None = None
    clone: Clone | None = None
    train: TrainConfig = TrainConfig()
    evaluate: Evaluate | None = None
    compare: Compare | None = None
    promote: Promote | None = None

    @property
    def steps(self) -> list[StepName]:
        """The steps to run, in order."""
        return [step for step in STEPS if step not in self.skip and getattr(self, step) is not None]

    @property
    def fingerprint(self) -> str:
        """A hash of this configuration."""
        return sha256(self.model_dump_json(exclude={"skip"}).encode()).hexdigest()

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if "train" in self.skip and self.version is None:
            raise ValueError("without the step 'train', 'version' must say which version it is about")
        if self.split is not None and self.split.dry_run:
            raise ValueError("'dry_run' in [split] would leave the splits as they are: skip the step instead")
        return self


def read_pipeline(path: Path, skip: list[str]) -> Pipeline:
    """The pipeline in `path`, with more steps to `skip`. Raises SettingsError."""
    try:
        with path.open("rb") as stream:
            given = tomllib.load(stream)
    except FileNotFoundError:
        raise SettingsError(f"The pipeline file {path} does not exist.") from None
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"The pipeline file {path} cannot be read: {cause_of(error)}.") from None
    try:
        return Pipeline.model_validate({**given, "skip": [*given.get("skip", []), *skip]})
    except ValidationError as error:
        raise SettingsError(_sentence(error, path)) from None


def _sentence(error: ValidationError, path: Path) -> str:
    """Describe the first invalid value with its table. For an unknown key, suggest the most similar one."""
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    tables: list[str] = []
    model: type[BaseModel] = Pipeline
    for part in first["loc"]:
        inner = _model(model, str(part))
        if inner is None or part == first["loc"][-1]:
            inside = f"in [{'.'.join(tables)}] " if tables else ""
            if first["type"] == "extra_forbidden":
                close = get_close_matches(str(part), list(model.model_fields), n=1)
                nearest = f" Did you mean {close[0]!r}?" if close else ""
                return f"The pipeline file {path} has {inside}an unknown key {part!r}.{nearest}"
            if first["type"] == "missing":
                return f"The pipeline file {path} lacks {inside}the key {part!r}."
            return f"In the pipeline file {path}, {inside}{part!r} cannot be {first['input']!r}: {message}."
        tables.append(str(part))
        model = inner
    return f"The pipeline file {path} is not valid: {message}."


def _model(model: type[BaseModel], field: str) -> type[BaseModel] | None:
    """The model of a table."""
    annotation: Any = model.model_fields[field].annotation if field in model.model_fields else None
    kinds = [kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type)]
    return next((kind for kind in kinds if issubclass(kind, BaseModel)), None)
