"""Study files: the options of every command in a TOML file, a section for each.

    [extract-features]
    backbone = ["vgg16", "vgg19"]
    limit = 48

    [[train-probes]]   # a section given several times is as many calls
    kernel-size = [1, 3]
    sweep = true

Keys are options without their dashes. What stands on the command line wins over the file.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from data.tools.errors import UserError
from data.tools.files import read_bytes
from data.tools.settings import listed

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

STUDY = "study.toml"
COMMANDS = ("extract-features", "train-backbone", "train-probes", "make-tables")
_HEADING = (
    "# What was run, as --study of each command reads it. What is not here has its default.\n"
)


def read_study(path: Path, command: str, options: Sequence[click.Option]) -> list[dict[str, Any]]:
    """The values that each section of a command gives to its options, by their names.

    Raises `UserError` for a file that cannot be read, and for unknown sections, keys and values of
    another kind.
    """
    try:
        content = tomllib.loads(read_bytes(path).decode())
    except (OSError, ValueError) as error:
        raise UserError(f"--study {path} cannot be read as TOML: {error}: mend the file") from None
    for name in content:
        if name not in COMMANDS:
            raise UserError(f"--study {path}: no command is called {name!r}: use "
                            f"{listed(name, COMMANDS)}")  # fmt: skip
    sections = content.get(command, [])
    known = {max(option.opts, key=len).removeprefix("--"): option for option in options}
    return [
        _values(section, known, f"--study {path}: [{command}]")
        for section in (sections if isinstance(sections, list) else [sections])
    ]


def study_text(calls: Iterable[str]) -> str:
    """The study that gives these calls again; they are as `command_line` writes them."""
    sections: dict[str, list[dict[str, Any]]] = {}
    for call in calls:
        command, *words = shlex.split(call)
        sections.setdefault(command, []).append(_given(words))
    lines = [_HEADING]
    for command, each in sections.items():
        for section in each:
            lines.append(f"[[{command}]]" if len(each) > 1 else f"[{command}]")
            lines += [f"{key} = {_toml(value)}" for key, value in section.items()]
            lines.append("")
    return "\n".join(lines)


def _values(section: Any, known: Mapping[str, click.Option], where: str) -> dict[str, Any]:
    if not isinstance(section, dict):
        raise UserError(f"{where} is no section: write its keys below it")
    values = {}
    for key, value in section.items():
        if key not in known:
            raise UserError(
                f"{where}: no option is called {key!r}: use {listed(key, tuple(known))}"
            )
        option = known[key]
        items = value if isinstance(value, list) else [value]
        flags = [isinstance(item, bool) for item in items]
        plain = all(isinstance(item, (str, int, float)) for item in items)
        if not plain or any(flag != option.is_flag for flag in flags):
            kind = "true or false" if option.is_flag else "a text or a number"
            raise UserError(f"{where}: {key} = {value!r}: give {kind}")
        if isinstance(value, list) and not option.multiple:
            raise UserError(f"{where}: {key} = {value!r}: give one value, not a list")
        values[str(option.name)] = items if option.multiple else value
    return values


def _given(words: list[str]) -> dict[str, Any]:
    """The options of a command line as `data.tools.settings.command_line` writes them."""
    found: dict[str, list[Any]] = {}
    rest = list(words)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if not equals and (not rest or rest[0].startswith("--")):
            found[name.removeprefix("--")] = [True]
            continue
        found.setdefault(name.removeprefix("--"), []).append(value if equals else rest.pop(0))
    return {key: values[0] if len(values) == 1 else values for key, values in found.items()}


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if value is True:
        return "true"
    return value if value.isdecimal() and str(int(value)) == value else _quoted(value)


def _quoted(text: str) -> str:
    """A TOML basic string."""
    escaped = (
        f"\\u{ord(sign):04X}" if ord(sign) < 32 or ord(sign) == 127 or sign in '\\"' else sign
        for sign in text
    )
    return f'"{"".join(escaped)}"'
