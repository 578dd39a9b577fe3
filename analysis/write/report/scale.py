"""Differences drawn on one scale, with zero on it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from analysis.tables.cells import number

WIDTH = 320.0  # of the drawing, in its own units
_MARGIN = 14.0  # at both ends, so that numbers of the axis stay inside


@dataclass(frozen=True)
class Scale:
    """From `low` to `high`, in units of what is drawn."""

    low: float
    high: float

    def place(self, value: float) -> float | None:
        """Where a value stands, in units of the drawing; None for NaN."""
        if not np.isfinite(value):
            return None
        share = (value - self.low) / (self.high - self.low)
        return round(_MARGIN + (WIDTH - 2 * _MARGIN) * share, 1)

    @property
    def ticks(self) -> list[tuple[float | None, str]]:
        """Places and numbers of the axis, about five; zero is among them."""
        steps = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
        step = next((s for s in steps if (self.high - self.low) / s <= 6), steps[-1])
        first, last = int(np.ceil(self.low / step - 1e-9)), int(np.floor(self.high / step + 1e-9))
        values = [index * step for index in range(first, last + 1)]
        return [(self.place(value), _tick(value)) for value in values]


def scale_of(values: Iterable[float]) -> Scale:
    """A scale that holds all finite `values`, and zero."""
    finite = [value for value in values if np.isfinite(value)]
    low, high = min([0.0, *finite]), max([0.1, *finite])
    spare = 0.03 * (high - low)
    return Scale(low - spare if low < 0 else -spare, high + spare)


def _tick(value: float) -> str:
    if abs(value) < 1e-9:
        return "0"
    return number(round(value, 2), signed=True).rstrip("0").rstrip(".")
