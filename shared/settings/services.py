"""Settings of both services: file < environment < command line, each value with its source.

The defaults are only in `config/labeler.toml` and `config/trainer.toml`, with their units and reasons. The
classes here declare types, limits and traits (`shared.settings.traits`). An unknown or invalid value raises
`SettingsError` with one sentence that names it, and the service does not start.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

import config
from shared.class_names import Spellings
from shared.images.sources.addresses import checked
from shared.settings.schedule import read_steps
from shared.settings.traits import CHANGEABLE, IS_PATH, MAKES_PROJECT, RECORDED
from shared.storage.file_errors import cause_of
from shared.tasks.registry import task_named
from shared.wire.fields import ClassName, Source

LogLevel = Literal["debug", "info", "warning", "error"]
ChallengerMode = Literal["auto", "on", "off"]
SecondLook = Literal["auto", "on", "off"]
TestOrder = Literal["random", "active"]
Port = Annotated[int, Field(ge=0, le=65535)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Positive = Annotated[int, Field(ge=1, lt=2**63)]

METRICS = frozenset(
    {"accuracy", "macro_f1", "micro_f1", "mean_average_precision", "exact_match", "map_50", "map_50_95"}
)
"""Metrics that a threshold can name. The project's task decides which of them are measured."""


class SettingsError(ValueError):
    """An unknown or invalid setting. The message is one sentence for a person."""


class ServiceSettings(BaseSettings):
    """The settings that both services have, and how a value is found."""

    model_config = SettingsConfigDict(extra="forbid", protected_namespaces=(), validate_assignment=True)

    workspace: Annotated[Path, IS_PATH]
    host: str
    port: Port
    log_level: LogLevel
    max_json_bytes: Annotated[int, Field(ge=1)]

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the service. It then needs no token."""
        return is_loopback(self.host)

    @classmethod
    def service(cls) -> str:
        """The name used in files and environment variables: `labeler` or `trainer`."""
        return cls.__name__.removesuffix("Settings").lower()

    @classmethod
    def load(
        cls, *, file: Path | None = None, command_line: Mapping[str, Any] | None = None
    ) -> tuple[Self, dict[str, Source]]:
        """Read all sources; returns the settings and the source of each value.

        Raises SettingsError for an unreadable file and for an unknown or invalid value.
        """
        service = cls.service()
        layers: list[tuple[Source, str, Mapping[str, Any]]] = [
            ("default", f"config/{service}.toml", _read_toml(defaults_file(cls)))
        ]
        if file is not None:
            layers.append(("file", str(file), _read_toml(file)))
        environment = EnvSettingsSource(cls, env_prefix=cls.environment_prefix())
        layers.append(("environment", "the environment", _with_unknown(environment, cls)))
        given = {key: value for key, value in (command_line or {}).items() if value is not None}
        layers.append(("command line", "the command line", given))
        values: dict[str, Any] = {}
        sources: dict[str, Source] = {}
        places: dict[str, str] = {}
        for source, place, layer in layers:
            for key, value in layer.items():
                if key not in cls.model_fields:
                    raise SettingsError(f"There is no {service} setting {key!r} (from {place}).{nearest(key, cls)}")
                values[key], sources[key], places[key] = value, source, place
        try:
            return cls.model_validate(values), sources
        except ValidationError as error:
            raise SettingsError(first_sentence(error, service, places)) from None

    @classmethod
    def environment_prefix(cls) -> str:
        """The prefix of the names of environment variables."""
        return f"FLYWHEEL_{cls.service().upper()}__"

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Leave the sources to `load`, which records where each value came from."""
        return (init_settings,)


class LabelerSettings(ServiceSettings):
    """See config/labeler.toml for the meaning of each setting."""

    log_level: Annotated[LogLevel, CHANGEABLE]
    images: Annotated[str, MAKES_PROJECT, IS_PATH]
    more_images: list[Annotated[str, Field(min_length=1)]]
    image_addresses: list[str]
    watch: bool
    relist_seconds: Annotated[float, Field(ge=0, le=604_800, allow_inf_nan=False)]
    task: str
    classes: Annotated[list[ClassName], MAKES_PROJECT]
    test_set: Annotated[str, MAKES_PROJECT, IS_PATH]
    trainer_url: Annotated[str, CHANGEABLE]
    buffer_size: Annotated[int, Field(ge=1, le=5_000), CHANGEABLE]
    buffer_seconds: Annotated[Seconds, CHANGEABLE]
    trainer_poll_seconds: Seconds
    trainer_timeout_seconds: Seconds
    test_set_frac: Annotated[float, Field(ge=0, le=0.9)]
    validation_set_frac: Annotated[float, Field(ge=0, le=0.9)]
    test_free_labels: Annotated[int, Field(ge=0)]
    test_first_share: Annotated[float, Field(ge=0, lt=1)]
    test_first_count: Annotated[int, Field(ge=0)]
    test_later_share: Annotated[float, Field(ge=0, lt=1)]
    test_enough: Annotated[int, Field(ge=0)]
    test_order: Annotated[TestOrder, CHANGEABLE]
    lease_seconds: Annotated[Seconds, CHANGEABLE]
    overlap: Annotated[int, Field(ge=1, le=100), CHANGEABLE]
    read_ahead: Annotated[int, Field(ge=1, le=50), CHANGEABLE]
    max_unconfirmed: Annotated[int, Field(ge=1, le=100), CHANGEABLE]
    blind_mode: Annotated[bool, CHANGEABLE]
    preselect_suggestions: Annotated[bool, CHANGEABLE]
    max_image_bytes: Positive
    max_image_pixels: Positive
    max_request_bytes: Positive
    max_images: Positive
    display_pixels: Annotated[int, Field(ge=64, le=8_192)]
    database_url: Annotated[str, MAKES_PROJECT]

    @field_validator("trainer_url")
    @classmethod
    def _http(cls, url: str) -> str:
        return _http_url(url)

    @field_validator("task")
    @classmethod
    def _known(cls, task: str) -> str:
        return task_named(task).name

    @field_validator("classes", "more_images", "image_addresses", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return _comma_list(value)

    @field_validator("image_addresses")
    @classmethod
    def _addresses(cls, addresses: list[str]) -> list[str]:
        return [checked(address.strip()) for address in addresses]

    @field_validator("classes")
    @classmethod
    def _distinct(cls, classes: list[str]) -> list[str]:
        names = [name.strip() for name in classes]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"names {twice[0]!r} twice")
        spellings = Spellings()
        for name in names:
            if (first := spellings.of(name)) != name:
                raise ValueError(f"names {first!r} and {name!r}, which are the same class")
        if any(not name for name in names):
            raise ValueError("has an empty name")
        return names

    @model_validator(mode="after")
    def _room_to_train(self) -> Self:
        if self.test_set_frac + self.validation_set_frac >= 1:
            raise ValueError(
                "test_set_frac and validation_set_frac leave nothing to train on: their sum must be below 1"
            )
        return self


class TrainerSettings(ServiceSettings):
    """See config/trainer.toml for the meaning of each setting."""

    images: Annotated[str, IS_PATH]
    labeler_url: str
    labeler_timeout_seconds: Seconds
    backbone: Annotated[str, Field(min_length=1), MAKES_PROJECT, RECORDED]
    auto_backbone: Annotated[str, Field(min_length=1), MAKES_PROJECT]
    auto_download: bool
    backbone_weights: Annotated[str, MAKES_PROJECT, IS_PATH, RECORDED]
    weights_folder: Annotated[str, IS_PATH]
    backbone_mean: Annotated[list[float], MAKES_PROJECT]
    backbone_std: Annotated[list[Annotated[float, Field(gt=0)]], MAKES_PROJECT]
    input_size: Annotated[int, Field(ge=0, le=4_096), MAKES_PROJECT, RECORDED]
    model_fn: Annotated[str, MAKES_PROJECT, RECORDED]
    reload_model: Annotated[str, MAKES_PROJECT]
    embeddings: Annotated[str, MAKES_PROJECT, IS_PATH, RECORDED]
    text_network: Annotated[str, RECORDED]
    text_prompts: Annotated[list[Annotated[str, Field(min_length=2, max_length=500)]], CHANGEABLE]
    batch_size: Annotated[int, Field(ge=1, le=4_096)]
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$")]
    max_image_bytes: Positive
    max_image_pixels: Positive
    query_strategy: Annotated[str, Field(min_length=1), CHANGEABLE, RECORDED]
    exploration: Annotated[Fraction | str, CHANGEABLE]
    query_length: Annotated[int, Field(ge=1, le=10_000), CHANGEABLE]
    eval_and_query_every: Annotated[Positive, CHANGEABLE]
    early_stopping_metrics_thresholds: Annotated[dict[str, Fraction], CHANGEABLE]
    iou_threshold: Annotated[float, Field(ge=0.1, le=0.95), CHANGEABLE]
    label_budget: Annotated[int, Field(ge=0, lt=2**63), CHANGEABLE]
    challenger: Annotated[ChallengerMode, CHANGEABLE]
    challenger_flip: Annotated[bool, CHANGEABLE]
    second_look: Annotated[SecondLook, CHANGEABLE]
    engine: Literal["local", "ray"]
    ray_address: Annotated[str, Field(pattern=r"^(ray://[^\s/@]+:\d{1,5})?$")]
    tracking: Literal["offline", "online", "off"]
    seed: Annotated[int, Field(ge=0, lt=2**32), RECORDED]

    @field_validator("labeler_url")
    @classmethod
    def _http(cls, url: str) -> str:
        return _http_url(url)

    @field_validator("backbone_mean", "backbone_std", "text_prompts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return _comma_list(value)

    @field_validator("text_prompts")
    @classmethod
    def _prompts(cls, value: list[str]) -> list[str]:
        for each in value:
            if "{}" not in each and "=" not in each:
                raise ValueError(f"must have {{}} for the class, or CLASS = WORDS, and {each!r} has neither")
        return value

    @field_validator("backbone_mean", "backbone_std")
    @classmethod
    def _three(cls, value: list[float]) -> list[float]:
        if len(value) not in (0, 3):
            raise ValueError("must have three numbers, one per colour channel, or none")
        return value

    @field_validator("exploration", mode="before")
    @classmethod
    def _share(cls, value: object) -> object:
        """Convert a share to a number, whether written as a number or as text; keep a schedule as text."""
        if isinstance(value, str) and ":" in value:
            read_steps(value)
            return value
        try:
            share = float(str(value))
        except ValueError:
            share = math.nan
        if not 0.0 <= share <= 1.0:
            raise ValueError("must be a share between 0 and 1, or pairs labels:share such as 0:0, 100:0.1")
        return share

    @field_validator("early_stopping_metrics_thresholds", mode="before")
    @classmethod
    def _pairs(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [part.partition("=") for part in value.strip().strip("{}").split(",") if part.strip()]
        return {name.strip(): number.strip() for name, _, number in pairs}

    @field_validator("early_stopping_metrics_thresholds")
    @classmethod
    def _known_metrics(cls, value: dict[str, float]) -> dict[str, float]:
        unknown = sorted(set(value) - METRICS)
        if unknown:
            raise ValueError(f"names {unknown[0]!r}, which is not measured; choose from {', '.join(sorted(METRICS))}")
        return value


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a service that listens on `host`. Names are not looked up."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def defaults_file(cls: type[ServiceSettings]) -> Path:
    """The file that ships the default of each setting, with its meaning beside it."""
    return Path(config.__file__).parent / f"{cls.service()}.toml"


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            return tomllib.load(stream)
    except FileNotFoundError:
        raise SettingsError(f"There is no settings file {path}.") from None
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"The settings file {path} cannot be read: {cause_of(error)}.") from None


def _with_unknown(source: EnvSettingsSource, cls: type[ServiceSettings]) -> dict[str, Any]:
    """The values in the environment; a misspelled name with our prefix is kept, so that it is refused, not ignored."""
    prefix = cls.environment_prefix().lower()
    unknown = {
        name.removeprefix(prefix): value
        for name, value in source.env_vars.items()
        if name.startswith(prefix) and value is not None and name.removeprefix(prefix) not in cls.model_fields
    }
    known: dict[str, Any] = {}
    for key, field_info in cls.model_fields.items():
        raw = source.env_vars.get(prefix + key)
        if raw is None:
            continue
        known[key] = raw
        if source.field_is_complex(field_info) and raw[:1] in ("[", "{"):
            try:
                known[key] = source.decode_complex_value(key, field_info, raw)
            except (ValueError, RecursionError) as error:
                place = f"The {cls.service()} setting {key!r} (from the environment)"
                raise SettingsError(f"{place} cannot be {raw!r}: it is not JSON ({error}).") from None
    return {**known, **unknown}


def nearest(key: str, cls: type[ServiceSettings]) -> str:
    """` Did you mean …?`, or nothing where no setting has a similar name."""
    from difflib import get_close_matches

    close = get_close_matches(key, list(cls.model_fields), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def first_sentence(error: ValidationError, service: str, places: Mapping[str, str] | None = None) -> str:
    """Describe the first invalid value, with the setting and, if known, its source."""
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ").removesuffix(".")
    if not first["loc"]:
        return f"The {service} settings are not valid: {message}."
    name = str(first["loc"][0])
    if first["type"] == "missing":
        return f"The {service} setting {name!r} is missing."
    place = f" (from {places[name]})" if places and name in places else ""
    if first["type"] == "value_error" and len(first["loc"]) == 1 and message[:1].islower():  # they begin with the verb
        message = f"it {message}"
    return f"The {service} setting {name!r}{place} cannot be {first['input']!r}: {message}."


def _http_url(url: str) -> str:
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an address like http://127.0.0.1:3333")
    return url.rstrip("/")


def _comma_list(value: object) -> object:
    """Let the environment and the command line give a list as `a,b,c`, or as JSON if a value contains a comma."""
    if isinstance(value, str) and value.startswith("["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"is not a JSON list ({error})") from None
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value
