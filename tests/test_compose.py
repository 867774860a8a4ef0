"""The compose file, tested without Docker: its form, and that the variables it sets exist.

tests/compose-spec.json is the Compose Specification's own schema (compose-spec, October 2021, Apache-2.0).
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft201909Validator

from shared.settings.services import LabelerSettings, ServiceSettings, TrainerSettings
from shared.web.auth import TOKEN_VARIABLE, token_for

ROOT = Path(__file__).parent.parent
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
SETTINGS: dict[str, type[ServiceSettings]] = {"labeler": LabelerSettings, "trainer": TrainerSettings}
REQUIRED = re.compile(r"\$\{(?P<name>\w+):\?[^}]+\}")

DEFAULT = re.compile(r"\$\{(?P<name>\w+)(?P<kind>:[-+])(?P<value>[^}]*)\}")

BOTH = pytest.mark.parametrize("name", ["labeler", "trainer", "trainer-gpu"])


def given(value: str, environment: dict[str, str]) -> str:
    """The value as compose expands it."""

    def one(match: re.Match[str]) -> str:
        here = environment.get(match["name"], "")
        return (match["value"] if here else "") if match["kind"] == ":+" else here or match["value"]

    return DEFAULT.sub(one, value)


def service(name: str) -> str:
    return name.removesuffix("-gpu")


def test_it_is_a_compose_file() -> None:
    schema = json.loads((ROOT / "tests" / "compose-spec.json").read_text())
    problems = [error.message for error in Draft201909Validator(schema).iter_errors(COMPOSE)]
    assert problems == []


def test_the_schema_would_notice() -> None:
    schema = json.loads((ROOT / "tests" / "compose-spec.json").read_text())
    broken = {**COMPOSE, "services": {**SERVICES, "labeler": {**SERVICES["labeler"], "helthcheck": {}}}}
    assert not Draft201909Validator(schema).is_valid(broken)


@BOTH
@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"CLASSES": "cat,dog", "BACKBONE": "resnet18", "BACKBONE_WEIGHTS": "mine.safetensors", "INPUT_SIZE": "160"}
        | {"BACKBONE_MEAN": "0.5,0.5,0.5", "BACKBONE_STD": "0.5,0.5,0.5"},
    ],
)
def test_what_it_sets_can_be_set(name: str, chosen: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    settings = SETTINGS[service(name)]
    environment = {key: str(value) for key, value in SERVICES[name]["environment"].items()}
    others = {key: value for key, value in environment.items() if not key.startswith(settings.environment_prefix())}
    other = "labeler" if service(name) == "trainer" else "trainer"
    port = SETTINGS[other].load()[0].port
    proxied = {"FORWARDED_ALLOW_IPS"} if service(name) == "labeler" else set()
    of_ray = {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN"} if service(name) == "trainer" else set()
    assert set(others) == {TOKEN_VARIABLE, f"FLYWHEEL_{other.upper()}_URL"} | proxied | of_ray
    assert others[f"FLYWHEEL_{other.upper()}_URL"] == f"http://{other}:{port}"
    for key in [key for key in os.environ if key.startswith("FLYWHEEL_")]:
        monkeypatch.delenv(key)
    for key, value in environment.items():
        monkeypatch.setenv(key, given(value, chosen))
    loaded, sources = settings.load()
    assert sum(source == "environment" for source in sources.values()) == len(environment) - len(others)
    assert not loaded.is_loopback
    if isinstance(loaded, TrainerSettings):
        weights = f"/weights/{chosen['BACKBONE_WEIGHTS']}" if chosen else ""
        assert (loaded.backbone, loaded.backbone_weights) == (chosen.get("BACKBONE", "auto"), weights)
        assert (loaded.input_size, len(loaded.backbone_mean)) == ((160, 3) if chosen else (0, 0))


@BOTH
def test_a_missing_token_stops_the_start(name: str) -> None:
    needed = REQUIRED.fullmatch(SERVICES[name]["environment"][TOKEN_VARIABLE])
    assert needed is not None
    assert needed["name"] == TOKEN_VARIABLE


@BOTH
def test_it_is_published_on_this_machine_alone_and_photos_are_read_only(name: str) -> None:
    port = SETTINGS[service(name)].load()[0].port
    assert [given(each, {}) for each in SERVICES[name]["ports"]] == [f"127.0.0.1:{port}:{port}"]
    other = {f"{service(name).upper()}_PORT": "4444"}
    assert [given(each, other) for each in SERVICES[name]["ports"]] == [f"127.0.0.1:4444:{port}"]
    workspace, photos, *weights = SERVICES[name]["volumes"]
    assert all(each.endswith(":/weights:ro") for each in weights)
    assert workspace == "workspace:/workspace"
    assert photos.endswith(":/photos:ro")
    assert "workspace" in COMPOSE["volumes"]


@BOTH
def test_it_comes_up_again_and_says_whether_it_is_well(name: str) -> None:
    assert SERVICES[name]["restart"] == "unless-stopped"
    port = SETTINGS[service(name)].load()[0].port
    assert f"http://127.0.0.1:{port}/" in SERVICES[name]["healthcheck"]["test"][-1]
    compile(SERVICES[name]["healthcheck"]["test"][-1], "healthcheck", "exec")
    assert SERVICES[name]["command"] == ["flywheel", service(name)]


def test_the_trainer_with_a_gpu_takes_the_place_of_the_other_when_it_is_asked_for() -> None:
    gpu, plain = SERVICES["trainer-gpu"], SERVICES["trainer"]
    assert gpu["profiles"] == ["gpu"]
    assert "trainer" in gpu["networks"]["default"]["aliases"]
    assert gpu["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]
    assert gpu["build"]["args"]["TORCH_BACKEND"] == ""  # the usual one, with CUDA
    assert gpu["image"] != plain["image"]
    assert {key: gpu[key] for key in ("command", "environment", "ports", "volumes", "healthcheck")} == {
        key: plain[key] for key in ("command", "environment", "ports", "volumes", "healthcheck")
    }
    assert "labeler trainer-gpu" in (ROOT / "Makefile").read_text()


def test_a_ray_cluster_with_a_token_works_for_the_trainer_when_it_is_asked_for() -> None:
    head, worker = SERVICES["ray-head"], SERVICES["ray-worker"]
    assert head["profiles"] == worker["profiles"] == ["ray"]
    assert "ports" not in head
    chosen = {"ENGINE": "ray", "RAY_ADDRESS": "ray://ray-head:10001"}
    environment = {key: given(str(value), chosen) for key, value in SERVICES["trainer"]["environment"].items()}
    values = {
        "engine": environment["FLYWHEEL_TRAINER__ENGINE"],
        "ray_address": environment["FLYWHEEL_TRAINER__RAY_ADDRESS"],
    }
    assert TrainerSettings.load(command_line=values)[0].ray_address == "ray://ray-head:10001"
    assert "--ray-client-server-port=10001" in head["command"]
    assert "--include-dashboard=false" in head["command"]
    assert f"--address=ray-head:{head['command'][5].partition('=')[2]}" in worker["command"]
    for each in (head, worker, SERVICES["trainer"]):
        assert each["environment"]["RAY_AUTH_MODE"] == "token"
        assert each["environment"]["RAY_AUTH_TOKEN"] == each["environment"][TOKEN_VARIABLE]
        assert "EXTRAS" in each["build"]["args"]


def test_the_image_has_pytorch_for_cpus_unless_asked_and_a_health_check_for_either_service() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert "ARG TORCH_BACKEND=cpu\n" in text
    check = json.loads(text.split("CMD ", 1)[1].splitlines()[0])
    compile(check[-1], "healthcheck", "exec")
    assert "3333/health" in check[-1]
    assert "3334/api/health" in check[-1]


def test_a_proxy_with_tls_stands_in_front_of_the_labeler_when_it_is_asked_for() -> None:
    proxy = SERVICES["proxy"]
    assert proxy["profiles"] == ["tls"]
    assert proxy["depends_on"] == ["labeler"]
    assert [port.partition(":")[0] for port in proxy["ports"]] == ["80", "443"]
    file, inside, mode = next(each for each in proxy["volumes"] if "Caddyfile" in each).split(":")
    assert (inside, mode) == ("/etc/caddy/Caddyfile", "ro")
    told = (ROOT / file).read_text()
    port = SETTINGS["labeler"].load()[0].port
    assert f"reverse_proxy {{$LABELER:labeler:{port}}}" in told
    assert "{$SITE:localhost} {" in told
    assert "3333" not in told  # the trainer is not for others
    assert given(SERVICES["labeler"]["environment"]["FORWARDED_ALLOW_IPS"], {}) == "172.16.0.0/12"


@pytest.mark.skipif(shutil.which("caddy") is None, reason="needs caddy")
def test_caddy_takes_its_file(tmp_path: Path) -> None:
    home = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    command = ["caddy", "validate", "--adapter", "caddyfile", "--config", str(ROOT / "config" / "Caddyfile")]
    subprocess.run(command, check=True, env=home, capture_output=True)


def test_every_variable_is_in_the_guide() -> None:
    guide = (ROOT / "docs" / "guides" / "docker.md").read_text(encoding="utf-8")
    used = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    assert {name for name in used if f"`{name}`" not in guide} == set()


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
