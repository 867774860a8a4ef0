"""The compose file, as far as that goes without an engine: its form, and that what it sets can be set.

tests/compose-spec.json is the Compose Specification's own schema (compose-spec, October 2021, Apache-2.0).
"""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft201909Validator

from shared.auth import TOKEN_VARIABLE, token_for
from shared.settings import LabelerSettings, ServiceSettings, TrainerSettings

ROOT = Path(__file__).parent.parent
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
SETTINGS: dict[str, type[ServiceSettings]] = {"labeler": LabelerSettings, "trainer": TrainerSettings}
REQUIRED = re.compile(r"\$\{(?P<name>\w+):\?[^}]+\}")

BOTH = pytest.mark.parametrize("name", ["labeler", "trainer"])


def test_it_is_a_compose_file() -> None:
    schema = json.loads((ROOT / "tests" / "compose-spec.json").read_text())
    problems = [error.message for error in Draft201909Validator(schema).iter_errors(COMPOSE)]
    assert problems == []


def test_the_schema_would_notice() -> None:
    schema = json.loads((ROOT / "tests" / "compose-spec.json").read_text())
    broken = {**COMPOSE, "services": {**SERVICES, "labeler": {**SERVICES["labeler"], "helthcheck": {}}}}
    assert not Draft201909Validator(schema).is_valid(broken)


@BOTH
def test_what_it_sets_can_be_set(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = SETTINGS[name]
    environment = {key: str(value) for key, value in SERVICES[name]["environment"].items()}
    assert all(key == TOKEN_VARIABLE or key.startswith(settings.environment_prefix()) for key in environment)
    for key in [key for key in os.environ if key.startswith("FLYWHEEL_")]:
        monkeypatch.delenv(key)
    for key, value in environment.items():
        monkeypatch.setenv(key, re.sub(r"\$\{CLASSES:-\}", "cat,dog", value))
    loaded, sources = settings.load()
    assert sum(source == "environment" for source in sources.values()) == len(environment) - 1
    assert not loaded.is_loopback


@BOTH
def test_a_missing_token_stops_the_start(name: str) -> None:
    needed = REQUIRED.fullmatch(SERVICES[name]["environment"][TOKEN_VARIABLE])
    assert needed is not None
    assert needed["name"] == TOKEN_VARIABLE


@BOTH
def test_it_is_published_on_this_machine_alone_and_photos_are_read_only(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name]["ports"])
    workspace, photos = SERVICES[name]["volumes"]
    assert workspace == "workspace:/workspace"
    assert photos.endswith(":/photos:ro")
    assert "workspace" in COMPOSE["volumes"]


@BOTH
def test_it_comes_up_again_and_says_whether_it_is_well(name: str) -> None:
    assert SERVICES[name]["restart"] == "unless-stopped"
    port = SETTINGS[name].load()[0].port
    assert f"http://127.0.0.1:{port}/" in SERVICES[name]["healthcheck"]["test"][-1]
    compile(SERVICES[name]["healthcheck"]["test"][-1], "healthcheck", "exec")
    assert SERVICES[name]["command"] == ["flywheel", name]


def test_the_token_is_made_once_and_kept(tmp_path: Path) -> None:
    script = tmp_path / "scripts" / "token"
    script.parent.mkdir()
    script.write_bytes((ROOT / "scripts" / "token").read_bytes())
    kept = tmp_path / ".env"
    kept.write_text("PHOTOS=/photos\n")
    for _ in range(2):
        subprocess.run(["sh", str(script)], check=True)
    lines = kept.read_text().splitlines()
    assert lines[0] == "PHOTOS=/photos"
    assert len(lines) == 2
    assert token_for("0.0.0.0", {TOKEN_VARIABLE: lines[1].removeprefix(f"{TOKEN_VARIABLE}=")})
    assert ".env" in (ROOT / ".gitignore").read_text().split()
