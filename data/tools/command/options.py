"""Options made from the fields of configuration dataclasses."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from data.tools.settings import choices_of, listed

_CLICK_TYPES: dict[Any, Any] = {
    int: int,
    float: float,
    str: str,
    bool: bool,
    Path: click.Path(path_type=Path),
}


class NearChoice(click.Choice):
    """A choice whose refusal names at most five that are near."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The choice itself; a usage error where there is none."""
        if value not in self.choices:
            self.fail(f"{value!r} is unknown: use {listed(value, tuple(self.choices))}", param, ctx)
        return super().convert(value, param, ctx)


def field_names(config_class: type) -> list[str]:
    """The settings of a configuration."""
    return [field.name for field in dataclasses.fields(config_class)]


def options_of(config_class: type) -> dict[str, click.Option]:
    """The option of every field, by the field's name."""
    hints = typing.get_type_hints(config_class)
    return {
        field.name: _option(field, hints[field.name]) for field in dataclasses.fields(config_class)
    }


def default_of(config_class: type, name: str) -> Any:
    """What a setting is where nobody says otherwise; None where it has to be said."""
    (field,) = (field for field in dataclasses.fields(config_class) if field.name == name)
    return None if field.default is dataclasses.MISSING else field.default


def every_choice(options: Sequence[click.Option]) -> list[str]:
    """What any of the options may be, each once."""
    kinds = [option.type for option in options if isinstance(option.type, click.Choice)]
    return list(dict.fromkeys(choice for kind in kinds for choice in kind.choices))


def as_option(name: str) -> str:
    """A field's name as its option: `kernel_size` is `--kernel-size`."""
    return "--" + name.replace("_", "-")


def _option(field: dataclasses.Field[Any], hint: Any) -> click.Option:
    # `int | None` options take an int; `tuple[str, ...]` options may be given several times.
    arguments = typing.get_args(hint)
    kind = next((a for a in arguments if a in _CLICK_TYPES), hint) if arguments else hint
    required = field.default is dataclasses.MISSING
    grid = field.metadata["grid"]
    choices = choices_of(field) if kind is str else ()  # click knows no choice of numbers
    options: dict[str, Any] = {
        "help": field.metadata["help"],
        "required": required,
        "multiple": grid or typing.get_origin(hint) is tuple,
        "type": NearChoice(choices) if choices else _CLICK_TYPES[kind],
    }
    if not required:
        options["default"] = (field.default,) if grid else field.default
    if kind is bool:
        del options["type"]
        options["is_flag"] = True
    return click.Option([as_option(field.name)], **options)
