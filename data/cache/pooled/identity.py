"""What a pooled cache was made from: one typed record, and how two of them are compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from data.cache.identity import NEVER_COMPARED, Calibration, canonical_json
from data.images.placed.shifts import SHIFTS
from data.tools.typed import from_json

SCHEMA = 1
# Of what is compared by its content (`calibration_images`), in words.
_NEVER_COMPARED = (*NEVER_COMPARED, "calibrated_on")


@dataclass(frozen=True)
class PlacedIdentity:
    """Whatever moves a pooled vector, and with what the work was done; JSON-able."""

    schema: int = SCHEMA
    backbone: str = ""
    weights: str = ""
    weights_sha256: str = ""
    weights_source: str = ""
    weights_provenance: Mapping[str, Any] = field(default_factory=dict)
    padding: str = "zeros"
    padding_changes: Any = field(default_factory=dict)
    normalization: str = "none"
    taps: tuple[str, ...] = ()
    levels: Mapping[str, int] = field(default_factory=dict)  # level -> channels, ordered
    precision: str = "fp32"
    device: str = ""
    seed: int = 0
    calibration: Calibration | None = None
    calibration_images: str = ""  # SHA-256 over the images that it was measured on
    calibrated_on: str = ""  # "whole" or "placed" images; "" where nothing was to be calibrated
    kind: str = "grid"  # or "corners", or a shift
    grid: int = 3  # cells a side
    border: int = 0  # pixels
    gap: int = 0  # pixels between the cells
    patch_size: int = 32  # pixels a side
    cells: tuple[tuple[int, int], ...] = ()  # row and column of each; in pixels under a shift
    canvas: str = "black"
    mirrored: bool = False  # every image turned left to right
    patches: str = "samples"
    patches_sha256: str = ""
    n_patches: int = 0
    class_names: tuple[str, ...] = ()
    # The exactness audit at this image size: level -> change of a channel over the places, and
    # module -> cells that its strided windows leave out, (n + 2p - k) mod s, rows and columns.
    place_changes: Mapping[str, float] = field(default_factory=dict)
    uneven_strides: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    command: str = ""  # that made the cache; "" where it was handed objects in Python

    @classmethod
    def from_json(cls, values: Any) -> PlacedIdentity:
        """The identity that `to_json` wrote; `ValueError` for anything else."""
        return from_json(cls, values)

    def to_json(self) -> dict[str, Any]:
        """As JSON reads it back, keys in the order of the fields."""
        return dict(json.loads(json.dumps(asdict(self))))

    @property
    def is_shifted(self) -> bool:
        """Whether its cells are one image under small shifts, and no places of a canvas."""
        return self.kind in SHIFTS

    @property
    def rings(self) -> list[int]:
        """For every cell how many cells lie between it and the nearest edge of the canvas."""
        last = self.grid - 1
        return [min(row, column, last - row, last - column) for row, column in self.cells]

    @property
    def digest(self) -> str:
        """SHA-256 of what is compared: stored in every block, so that none is ever mixed up."""
        values = self.to_json()
        compared = {key: value for key, value in values.items() if key not in _NEVER_COMPARED}
        return hashlib.sha256(canonical_json(compared).encode()).hexdigest()

    def differences(self, now: PlacedIdentity, *, ignore: Iterable[str] = ()) -> list[str]:
        """One line per field that differs, with both values; empty when none does."""
        old, new, ignored = self.to_json(), now.to_json(), {*_NEVER_COMPARED, *ignore}
        return [
            f"{key}: {canonical_json(old[key])} in the cache, {canonical_json(new[key])} now"
            for key in old
            if key not in ignored and canonical_json(old[key]) != canonical_json(new[key])
        ]
