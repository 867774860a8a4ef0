"""Special properties of settings, declared once next to their types in the settings classes.

`Annotated[int, Field(ge=1), CHANGEABLE]` declares a setting that may change while its service runs. Whoever needs the
settings with a trait asks `settings_with` instead of keeping a list of names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel


@dataclass(frozen=True, slots=True)
class Trait:
    """A trait of settings; `meaning` completes the sentence "This setting …"."""

    meaning: str


CHANGEABLE: Final = Trait("may change while its service runs")
MAKES_PROJECT: Final = Trait("is kept with the project, and a start changes it only with --change")
RECORDED: Final = Trait("is recorded in the config of every saved model version")
IS_PATH: Final = Trait("names a file or folder, which the project keeps relative to its workspace")


def settings_with(trait: Trait, settings: type[BaseModel]) -> tuple[str, ...]:
    """The names of the settings that have the trait, in the order of their declaration."""
    return tuple(name for name, field in settings.model_fields.items() if trait in field.metadata)
