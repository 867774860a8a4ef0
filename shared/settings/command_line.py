"""A service's command line: every setting as `--its-name VALUE`, with the comments of the defaults as help."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from shared.settings.services import ServiceSettings, SettingsError, defaults_file, nearest


class CommandLine(NamedTuple):
    """A service's command line: the settings file, the given values, and whether they may change the project."""

    file: Path | None
    given: dict[str, str]
    change: bool


def parse_command_line(cls: type[ServiceSettings], argv: Sequence[str]) -> CommandLine:
    """Parse `--config FILE`, `--change` and every setting as `--its-name VALUE`.

    `--help` lists the settings with the comments in the defaults file. Raises SettingsError.
    """
    service = cls.service()
    parser = _Parser(
        prog=f"{service}/app.py",
        description=f"The {service}. Settings: file < environment ({cls.environment_prefix()}NAME) < command line.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="FILE", type=Path, help="settings in TOML, over the defaults")
    parser.add_argument("--change", action="store_true", help="allow this start to change what defines the project")
    for name, (meaning, default) in _comments(cls).items():
        text = f"{meaning} (default: {default})".replace("%", "%%")
        parser.add_argument("--" + name.replace("_", "-"), dest=name, metavar="VALUE", help=text)
    known, unknown = parser.parse_known_args(list(argv))
    if unknown:
        name = unknown[0].partition("=")[0].removeprefix("--").replace("-", "_")
        raise SettingsError(
            f"There is no {service} setting {name!r} (from the command line).{nearest(name, cls)} See --help."
        )
    given = vars(known)
    file, change = given.pop("config"), given.pop("change")
    return CommandLine(file, {name: value for name, value in given.items() if value is not None}, change)


def meanings(cls: type[ServiceSettings]) -> dict[str, str]:
    """The meaning of each setting: the comment next to its default in the settings file."""
    return {name: meaning for name, (meaning, _) in _comments(cls).items()}


class _Parser(ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Report an error like those of all other settings."""
        raise SettingsError(f"The command line cannot be read: {message}. See --help.")


def _comments(cls: type[ServiceSettings]) -> dict[str, tuple[str, str]]:
    """The comment and default of each setting in the defaults file; a comment may continue on the next lines."""
    comments: dict[str, tuple[str, str]] = {}
    name = ""
    for line in defaults_file(cls).read_text(encoding="utf-8").splitlines():
        code, _, comment = line.partition("# ")
        key, equals, value = code.partition("=")
        if equals:
            name = key.strip()
            comments[name] = (comment.strip(), value.strip())
        elif name and comment and line.startswith(" "):
            meaning, default = comments[name]
            comments[name] = (f"{meaning} {comment.strip()}", default)
        else:
            name = ""
    return comments
