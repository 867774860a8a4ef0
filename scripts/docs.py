"""Write the tables of settings, routes and metrics in docs/: `make docs`.

This script writes the text between the markers; the rest is written by hand. A test fails if a table is out of date, so
that every setting and every route has its line.
"""

from __future__ import annotations

import ast
import re
import sys
import tempfile
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(HOME))

from fastapi import FastAPI  # noqa: E402 - the checkout must be found first
from fastapi.routing import APIWebSocketRoute  # noqa: E402

from labeler.service import Service  # noqa: E402
from labeler.web.api import create_api as labeler_api  # noqa: E402
from labeler.web.metrics import prometheus_text as labeler_metrics  # noqa: E402
from shared.settings.services import LabelerSettings, TrainerSettings  # noqa: E402
from shared.web.answers import EVERY, MEANINGS  # noqa: E402
from trainer.routes.api import create_api as trainer_api  # noqa: E402
from trainer.routes.metrics import prometheus_text as trainer_metrics  # noqa: E402
from trainer.service import Trainer  # noqa: E402

VERBS = ("get", "post", "patch", "put", "delete")


def settings_table(service: str) -> str:
    """Every setting of a service with its default and its comment, under the headings of its file."""
    lines = []
    for line in (HOME / "config" / f"{service}.toml").read_text(encoding="utf-8").splitlines():
        heading = re.match(r"# --- (.+)", line)
        setting = re.match(r"(\w+) = (.+?)\s+# (.+)", line)
        more = re.match(r"\s+# (.+)", line)
        if heading:
            lines += [
                "",
                f"### {heading[1][0].upper()}{heading[1][1:]}",
                "",
                "| setting | default | meaning |",
                "|---|---|---|",
            ]
        elif setting:
            if not lines:
                lines += ["", "| setting | default | meaning |", "|---|---|---|"]
            lines.append(f"| `{setting[1]}` | `{setting[2]}` | {setting[3].replace('|', chr(92) + '|')} |")
        elif more and lines:
            lines[-1] = f"{lines[-1].removesuffix(' |')} {more[1]} |"
    return "\n".join(lines) + "\n\n"


def route_table(api: FastAPI, prefix: str) -> str:
    """Every route of an application with its description, and its specific refusals."""
    lines = ["", "| route | what it does | refuses with |", "|---|---|---|"]
    for path, operations in api.openapi()["paths"].items():
        for verb in VERBS:
            if verb in operations:
                said = " ".join(operations[verb].get("description", "").split())
                responses = operations[verb]["responses"].items()
                meant = {int(status): response["description"] for status, response in responses if status >= "400"}
                own = ", ".join(str(status) for status, meaning in meant.items() if EVERY.get(status) != meaning)
                lines.append(f"| `{verb.upper()} {prefix}{path}` | {said} | {own} |")
    sockets = [route for route in api.routes if isinstance(route, APIWebSocketRoute)]
    lines += [f"| `WS {prefix}{each.path}` | {' '.join((each.endpoint.__doc__ or '').split())} | |" for each in sockets]
    return "\n".join(lines) + "\n\n"


def refusal_table() -> str:
    """The meaning of each refusal status."""
    rows = [f"| {status} | any | {meaning} |" for status, meaning in EVERY.items()]
    rows += [f"| {status} | as named below | {meaning} |" for status, meaning in MEANINGS.items() if status >= 400]
    return "\n".join(["", "| status | routes | meaning |", "|---|---|---|", *rows]) + "\n\n"


def metric_table(text: bytes) -> str:
    """Every metric of a service with its description."""
    told = dict(line.split(" ", 3)[2:] for line in text.decode().splitlines() if line.startswith("# HELP"))
    rows = [f"| `{name}` | {meaning} |" for name, meaning in told.items()]
    return "\n".join(["", "| metric | meaning |", "|---|---|", *rows]) + "\n\n"


def room_table(package: str) -> str:
    """Every room of a package with the first sentence of its docstring."""
    lines = ["", "| room | what it does |", "|---|---|"]
    for file in sorted((HOME / package).glob("*/__init__.py")):
        meaning = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        lines.append(f"| `{file.parent.name}/` | {' '.join(meaning.partition(chr(10) * 2)[0].split())} |")
    return "\n".join(lines) + "\n\n"


def tables() -> dict[str, dict[str, str]]:
    """Document → marker → text."""
    with tempfile.TemporaryDirectory() as folder:
        one = Service(LabelerSettings.load(command_line={"workspace": folder})[0])
        other = Trainer(*TrainerSettings.load(command_line={"workspace": folder, "backbone": "pixels"}))
        try:
            routes = {
                "refusals": refusal_table(),
                "labeler": route_table(labeler_api(one), "/api"),
                "trainer": route_table(trainer_api(other), ""),
            }
            metrics = {"labeler": metric_table(labeler_metrics(one)), "trainer": metric_table(trainer_metrics(other))}
        finally:
            one.close()
            other.close()
    return {
        "reference/settings.md": {service: settings_table(service) for service in ("labeler", "trainer")},
        "reference/api.md": routes,
        "guides/monitoring.md": metrics,
        "concepts/code.md": {package: room_table(package) for package in ("labeler", "trainer", "shared", "commands")},
    }


def filled(text: str, parts: dict[str, str]) -> str:
    """Replace the part of `text` between `<!-- NAME -->` and `<!-- /NAME -->`."""
    for name, part in parts.items():
        marked = re.compile(f"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        text, count = marked.subn(lambda match: match[1] + part + match[2], text)  # noqa: B023 - used at once
        if count != 1:
            raise ValueError(f"the marker {name!r} stands {count} times")
    return text


def main() -> None:
    """Write the documents."""
    for name, parts in tables().items():
        path = HOME / "docs" / name
        path.write_text(filled(path.read_text(encoding="utf-8"), parts), encoding="utf-8")


if __name__ == "__main__":
    main()
