"""What all heads of one run have in common, and how it is written down."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from data.cache.identity import Identity
from data.protocols import TrainingRecipe

SCHEMA = 2  # 2: the ridge of exact heads is relative to their level


class OtherSchemaError(ValueError):
    """A run was written by another version of this program."""

    def __init__(self, schema: Any) -> None:
        super().__init__(
            f"schema {schema!r} was written by another version of this program, which reads "
            f"schema {SCHEMA}"
        )


@dataclass(frozen=True)
class RunSettings:
    """What may not differ between the heads of one run; JSON-able."""

    protocol: str
    recipe: TrainingRecipe
    precision: str  # of the large products: "float32" or "bfloat16"
    cache: Identity  # or the part of it that decides the run
    # Of the arithmetic: sums are cut up by their number, so their last digits depend on it. None:
    # not chosen (or not recorded, by an older version).
    threads: int | None = None
    about: Mapping[str, str] = field(default_factory=dict)  # versions and device: not compared
    commands: tuple[str, ...] = ()  # that trained its heads, in order: not compared

    def to_json(self) -> dict[str, Any]:
        """As `from_json` reads it back."""
        return {
            "schema": SCHEMA,
            "protocol": {"name": self.protocol, **asdict(self.recipe)},
            "precision": self.precision,
            "cache": self.cache.to_json(),
            "threads": self.threads,
            "about": dict(self.about),
            "commands": list(self.commands),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RunSettings:
        """Raises `KeyError`, `TypeError` or `ValueError` for anything `to_json` does not write."""
        if values["schema"] != SCHEMA:
            raise OtherSchemaError(values["schema"])
        recipe = dict(values["protocol"])
        protocol = recipe.pop("name")
        return cls(
            protocol,
            TrainingRecipe.from_json(recipe),
            values["precision"],
            Identity.from_json(values["cache"]),
            values.get("threads"),
            values.get("about", {}),
            tuple(values.get("commands", ())),
        )

    def content(self) -> dict[str, Any]:
        """What is compared, as JSON has it: of the cache, only what its features depend on."""
        everything = {**self.to_json(), "cache": self.cache.content}
        kept = {key: everything[key] for key in ("schema", "protocol", "precision", "cache")}
        return dict(json.loads(json.dumps(kept)))

    def differences(self, other: RunSettings) -> str:
        """What is different in `other`, and both values; empty where they agree."""
        parts = list(_differences(self.content(), other.content()))
        if None not in (self.threads, other.threads) and self.threads != other.threads:
            parts.append(f"threads: {self.threads} there, {other.threads} here")
        return "; ".join(parts)


def _differences(old: Any, new: Any, name: str = "") -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in {**old, **new}:
            yield from _differences(old.get(key), new.get(key), key)
    elif json.dumps(old) != json.dumps(new):  # as text: NaN is equal to itself
        yield f"{name}: {_short(old)} there, {_short(new)} here"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
