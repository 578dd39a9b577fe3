"""What a feature cache was made from: one typed record, and how two of them are compared.

It is stored as JSON in `manifest.json`, in `cache.h5` and, of the cache a run was trained from, in
`run.json`. No key of it is spelled anywhere else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from data.protocols import PROTOCOLS, FeatureRecipe
from data.tools.typed import from_json
from data.vocabulary import IMAGE_SIZE, PIXELS, TORCH

SCHEMA = 2
RANDOM, NO_WEIGHTS = "random", "-"

# Where the content lay, what its file was called, and the call that asked for it.
PLACES = ("sources", "weights_source", "command")
# Measured of the network, not chosen: they say nothing of the content that it does not.
MEASURED = ("place_changes", "uneven_strides")
NEVER_COMPARED = (*PLACES, *MEASURED)
# What it was made with. A complete cache is good whatever made it; an unfinished one goes on alike.
MAKING = ("device", "versions")
# Of one backbone alone: caches that differ in nothing else are of one study.
_OF_THE_BACKBONE = (
    *("backbone", "weights", "weights_sha256", "weights_source", "weights_provenance"),
    *("weights_match", "normalization"),
    *("padding", "padding_changes", "calibration", "seed"),
    *("taps", "levels", "layers_run", "layers_in_all"),
    *MEASURED,
)
_NEWER_SWITCHES = ("input_antialiased", "score_transposed")
# Moves no score by more than rounding does.
_HOW_STORED = ("schema", "precision", "engine", "compression")


@dataclass(frozen=True)
class Images:
    """The images of a cache, in order."""

    counts: Mapping[str, int] = field(default_factory=dict)  # image set -> images
    sha256: str = ""  # over set, name and SHA-256 of each

    @property
    def total(self) -> int:
        """How many, of all sets."""
        return sum(self.counts.values())


@dataclass(frozen=True)
class Calibration:
    """BatchNorm statistics of an untrained network: of what, and the SHA-256 of their file."""

    images: int
    batch_size: int
    sha256: str


@dataclass(frozen=True)
class Identity:
    """Whatever moves a feature, and where and with what the work was done.

    The defaults are those of the pixels, which no backbone has seen. All fields are JSON-able.
    """

    schema: int = SCHEMA
    backbone: str = PIXELS
    weights: str = NO_WEIGHTS  # "imagenet", "random", or the label of a checkpoint
    weights_sha256: str = ""  # of the state dict without classifiers, before calibration
    weights_source: str = ""  # URL, "seed 0" or file name
    weights_provenance: Mapping[str, Any] = field(default_factory=dict)
    weights_match: Mapping[str, Any] = field(default_factory=dict)  # how a file was fitted
    padding: str = NO_WEIGHTS
    padding_changes: Any = field(default_factory=dict)  # module -> what was changed in it
    protocol: str = "paper"
    features: FeatureRecipe = PROTOCOLS["paper"].features
    normalization: str = ""  # what the backbone saw: the recipe's, or its own for "imagenet"
    taps: tuple[str, ...] = ()  # nodes, f1 first
    levels: Mapping[str, int] = field(default_factory=dict)  # level -> channels, ordered
    layers_run: Mapping[str, int] = field(default_factory=dict)  # level -> layers with weights
    layers_in_all: int | None = None  # that a whole pass runs, without its classifier
    image_size: int = IMAGE_SIZE  # pixels a side
    precision: str = ""  # "fp32", "bf16" or "fp16"
    device: str = ""  # "cpu" or "cuda"
    engine: str = TORCH  # what ran the backbone
    seed: int = 0
    calibration: Calibration | None = None
    # The exactness audit at this image size: level -> change of a channel over the places, and
    # module -> cells that its strided windows leave out, (n + 2p - k) mod s, rows and columns.
    place_changes: Mapping[str, float] = field(default_factory=dict)
    uneven_strides: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    compression: str = "none"
    images: Images = field(default_factory=Images)
    sources: Mapping[str, str] = field(default_factory=dict)  # image set -> folder, or "samples"
    versions: Mapping[str, str] = field(default_factory=dict)  # library -> version
    command: str = ""  # that began the cache; "" where it was handed objects in Python

    @classmethod
    def from_json(cls, values: Any) -> Identity:
        """The identity that `to_json` wrote; a key that is missing has its default.

        Raises `ValueError` for a key that is unknown or holds something of another type.
        """
        return from_json(cls, values)

    def to_json(self) -> dict[str, Any]:
        """JSON-able, keys in the order of the fields.

        What is newer than the schema is left out where it has its default: caches that were made
        before it have the same digest.
        """
        features = {
            key: value
            for key, value in asdict(self.features).items()
            if value or key not in _NEWER_SWITCHES
        }
        # Tuples as JSON reads them back.
        uneven = {node: list(cells) for node, cells in self.uneven_strides.items()}
        lists = {"taps": list(self.taps), "uneven_strides": uneven}
        values = asdict(self) | lists | {"features": features}
        if self.engine == TORCH:
            del values["engine"]
        return values

    @property
    def digest(self) -> str:
        """SHA-256 of what is compared: stored in every shard, so that none is ever mixed up."""
        compared = _without(self.to_json(), NEVER_COMPARED)
        return hashlib.sha256(canonical_json(compared).encode()).hexdigest()

    @property
    def content(self) -> dict[str, Any]:
        """What must be equal in caches that stand for each other, as JSON.

        Not where the images lay, and not the machine and the libraries that made it.
        """
        return _without(self.to_json(), (*NEVER_COMPARED, *MAKING))

    @property
    def condition(self) -> dict[str, Any]:
        """What the caches of one study share, as JSON: all that moves a score but the backbone."""
        left_out = (*PLACES, *MAKING, *_OF_THE_BACKBONE, *_HOW_STORED)
        return _without(self.to_json(), left_out)

    def differences(self, now: Identity, *, ignore: Iterable[str] = NEVER_COMPARED) -> list[str]:
        """One line per field that differs, with both values; empty when none does."""
        old, new = ({"engine": TORCH, **one.to_json()} for one in (self, now))
        return [
            f"{key}: {canonical_json(old[key])} in the cache, {canonical_json(new[key])} now"
            for key in old
            # As text: the order of levels means something, and NaN is equal to itself.
            if key not in ignore and canonical_json(old[key]) != canonical_json(new[key])
        ]

    def of_pixels(self) -> Identity:
        """The identity of the level `input` alone, which is the same in every cache of a study."""
        left_out = (*MAKING, *_OF_THE_BACKBONE, *_HOW_STORED)
        default = Identity()
        return replace(self, **{key: getattr(default, key) for key in left_out})


def canonical_json(value: Any) -> str:
    """JSON in one line, keys in their own order (that of the levels means something)."""
    return json.dumps(value, separators=(",", ":"))


def _without(values: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in keys}
