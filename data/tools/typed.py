"""Dataclasses from JSON, with every value checked against the field's type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def from_json(kind: type[T], values: Any) -> T:
    """An instance of the dataclass `kind` from what JSON keeps of `dataclasses.asdict`.

    Fields may be of `str`, `int`, `float`, `bool`, `None`, `Any`, dataclasses, and tuples and
    mappings of these. A key that is missing has the field's default. Raises `ValueError` for a key
    that is unknown, missing without a default, or holds something of another type.
    """
    return _dataclass(kind, values, kind.__name__)


def _dataclass(kind: Any, values: Any, where: str) -> Any:
    hints = get_type_hints(kind)
    unknown = [key for key in _mapping(values, where) if key not in hints]
    if unknown:
        raise ValueError(f"{where} has the unknown key {unknown[0]!r}: another version wrote it")
    try:
        return kind(**{key: _value(hints[key], value, key) for key, value in values.items()})
    except TypeError as error:  # a field without a default is missing
        raise ValueError(f"{where} is not complete ({error})") from None


def _value(hint: Any, value: Any, where: str) -> Any:
    parts = get_args(hint)
    if hint is Any:
        return value
    if get_origin(hint) in (Union, UnionType):
        (other,) = [part for part in parts if part is not NoneType]
        return None if value is None else _value(other, value, where)
    if is_dataclass(hint):
        return _dataclass(hint, value, where)
    if get_origin(hint) is tuple and isinstance(value, (list, tuple)):
        return tuple(_value(parts[0], item, where) for item in value)
    if get_origin(hint) is Mapping:
        keys = _mapping(value, where)
        return {_value(parts[0], key, where): _value(parts[1], keys[key], where) for key in keys}
    if type(value) is hint or (hint is float and type(value) is int):
        return value
    raise ValueError(f"{where} is {value!r}, which cannot be")


def _mapping(value: Any, where: str) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} is {value!r}, not a table of names and values")
    return value
