"""Settings: fields of dataclasses that are options of a command too, and the check both pass."""

from __future__ import annotations

import dataclasses
import difflib
import math
import numbers
import shlex
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import NoneType
from typing import Any

from data.tools.errors import UserError

MAX_SEED = 2**63 - 1  # what JSON, HDF5 and torch all hold

_NAMED_AS_OPTIONS: ContextVar[bool] = ContextVar("named as options", default=False)
_NEAR = 5  # names suggested, of possibly hundreds
_KINDS: dict[type, str] = {
    int: "a whole number",
    float: "a number",
    str: "a text that is not empty",
    bool: "True or False",
    Path: "a path",
}


def setting(
    help: str,
    default: Any = dataclasses.MISSING,
    *,
    choices: tuple[Any, ...] | Callable[[], tuple[Any, ...]] = (),
    at_least: float | None = None,
    at_most: float | None = None,
    check: Callable[[Any], object] | None = None,
    grid: bool = False,
) -> Any:
    """A field of a configuration dataclass whose `__post_init__` calls `check_settings`.

    Without a default it is required; a `tuple[...]` field is a repeatable option. `choices` are
    the values it may have (a function where others can be added), `at_least` and `at_most` its
    range, and `check` raises `ValueError`, with reason and remedy, for a value it does not take.
    An option of a `grid` may be given several times on the command line, for a configuration each.
    """
    metadata = {
        "help": help,
        "choices": choices,
        "at_least": at_least,
        "at_most": at_most,
        "check": check,
        "grid": grid,
    }
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def choices_of(field: dataclasses.Field[Any]) -> tuple[Any, ...]:
    """The values that the field may have; () where any will do."""
    choices = field.metadata["choices"]
    return tuple(choices() if callable(choices) else choices)


@contextmanager
def named_as_options() -> Iterator[None]:
    """Inside, settings are called as on the command line: `--kernel-size`, not `kernel_size`."""
    token = _NAMED_AS_OPTIONS.set(True)
    try:
        yield
    finally:
        _NAMED_AS_OPTIONS.reset(token)


def spelled(name: str) -> str:
    """The field `name` in the caller's language."""
    return "--" + name.replace("_", "-") if _NAMED_AS_OPTIONS.get() else name


def command_line(
    program: str, config: Any, *, flags: Iterable[str] = (), leave_out: Iterable[str] = ()
) -> str:
    """The call of `program` that has this configuration; options at their default are left out.

    `flags` are options that are no field, and `leave_out` names of fields that concern one call
    alone.
    """
    words = [program, *(f"--{flag}" for flag in flags)]
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value == field.default or field.name in leave_out:
            continue
        option = "--" + field.name.replace("_", "-")
        if value is True:
            words.append(option)
        else:
            items = value if isinstance(value, tuple) else (value,)
            words += [word for item in items for word in _spelled_out(option, str(item))]
    return shlex.join(words)


def _spelled_out(option: str, value: str) -> tuple[str, ...]:
    """An option and its value; in one word where the value looks like an option."""
    return (f"{option}={value}",) if value.startswith("--") else (option, value)


def check_settings(config: Any) -> None:
    """Check every field of a configuration, which is frozen and may be of any such dataclass.

    Paths may be given as `str` (`~` is the home folder) and tuples as lists; what is repeated in
    a tuple counts once. Raises `UserError` with the field, its value, and what it could be.
    """
    hints = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value = _checked(field, hints[field.name], getattr(config, field.name))
        object.__setattr__(config, field.name, value)


def _checked(field: dataclasses.Field[Any], hint: Any, value: Any) -> Any:
    parts = typing.get_args(hint)
    if value is None and NoneType in parts:
        return None
    if typing.get_origin(hint) is not tuple:
        kind = next((part for part in parts if part is not NoneType), hint)
        return _checked_value(field, kind, value)
    if not isinstance(value, (tuple, list)):
        raise UserError(f"{spelled(field.name)} {value!r} must be a tuple, such as ({value!r},)")
    return tuple(dict.fromkeys(_checked_value(field, parts[0], item) for item in value))


def _checked_value(field: dataclasses.Field[Any], kind: type, value: Any) -> Any:
    name = spelled(field.name)
    converted = _converted(kind, value)
    if converted is None:
        raise UserError(f"{name} {value!r} must be {_KINDS[kind]}")
    choices = choices_of(field)
    if choices and converted not in choices:
        raise UserError(f"{name} {value!r} is unknown: use {listed(value, choices)}")
    low, high = field.metadata["at_least"], field.metadata["at_most"]
    if low is not None and converted < low:
        raise UserError(f"{name} {value!r} must be at least {low}")
    if high is not None and converted > high:
        raise UserError(f"{name} {value!r} must be at most {high}")
    try:
        if field.metadata["check"]:
            field.metadata["check"](converted)
    except ValueError as error:
        raise UserError(f"{name} {value!r}: {error}") from None
    return converted


def _converted(kind: type, value: Any) -> Any:
    """`value` as the field's type, or None where it is of another."""
    if kind is Path:
        text = str(value) if isinstance(value, (str, Path)) else ""
        return Path(text).expanduser() if text and "\0" not in text else None
    if kind in (int, float):
        number = numbers.Integral if kind is int else numbers.Real
        if isinstance(value, bool) or not isinstance(value, number) or not math.isfinite(value):
            return None
        return kind(value)  # type: ignore[call-overload]
    return value if isinstance(value, kind) and value != "" else None


def listed(value: Any, choices: Sequence[Any]) -> str:
    """At most five of the choices in words: all of a few, else those nearest to `value`."""
    names = list(map(str, choices))
    near = difflib.get_close_matches(str(value), names, _NEAR, cutoff=0.5)
    shown = names if len(names) <= _NEAR else near or [*names[:_NEAR], "..."]
    return f"one of {', '.join(shown)}" if len(shown) > 1 else shown[0]
