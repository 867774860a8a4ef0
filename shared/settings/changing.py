"""Settings that can change while a service runs: checks new values and describes them in the OpenAPI schema."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from shared.settings.services import ServiceSettings, SettingsError, first_sentence
from shared.settings.traits import CHANGEABLE, settings_with

S = TypeVar("S", bound=ServiceSettings)


def changed(settings: S, changes: Mapping[str, Any], changeable: Collection[str]) -> S:
    """A copy with the changes. Raises SettingsError that names the invalid setting."""
    service, fields = settings.service(), type(settings).model_fields
    for name, value in changes.items():
        if name not in fields:
            raise SettingsError(f"There is no {service} setting {name!r}.")
        if name not in changeable:
            raise SettingsError(
                f"The {service} setting {name!r} cannot change while the service runs: set it and restart."
            )
        if isinstance(value, bool) != (fields[name].annotation is bool):
            kind = "not a number or text" if not isinstance(value, bool) else "not true or false"
            raise SettingsError(f"The {service} setting {name!r} is {kind}.")
    try:
        return type(settings).model_validate({**settings.model_dump(), **changes})
    except ValidationError as error:
        raise SettingsError(first_sentence(error, service)) from None


def body_of_changes(settings: type[ServiceSettings]) -> dict[str, Any]:
    """Value of `openapi_extra=` for the route that changes these settings."""
    properties = settings.model_json_schema()["properties"]
    schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: properties[name] for name in sorted(settings_with(CHANGEABLE, settings))},
    }
    return {"requestBody": {"content": {"application/json": {"schema": schema}}, "required": True}}
