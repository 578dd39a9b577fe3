"""Targets of location-dependent segmentation: what lies at every cell of an aligned map.

Islam et al. (2021, arXiv 2101.12322) segment one class per patch on a canvas ("semantic
position"). The class of a patch can be read without its place; whether it lies in the left or the
right half of the canvas cannot.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.images.placed.source import PlacedName
from data.vocabulary import GRID

CLASS, CLASS_AND_HALF = "class", "class and half"
TARGETS = (CLASS, CLASS_AND_HALF)
BACKGROUND = "background"

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Target:
    """A segmentation of the canvas into the classes `names`; the first is the background."""

    kind: str  # one of `TARGETS`
    shown: tuple[str, ...]  # classes of the patches
    grid: int  # cells a side

    @property
    def names(self) -> tuple[str, ...]:
        """What the labels of `labels` mean."""
        if self.kind == CLASS:
            return (BACKGROUND, *self.shown)
        halves = [f"{name}, {half}" for half in ("left", "right") for name in self.shown]
        return (BACKGROUND, *halves)

    def labels(self, image: PlacedName) -> Labels:
        """The label of every cell of the map, (28, 28): that of the canvas at its centre.

        A patch in the middle column belongs to the left half in part, and to the right.
        """
        place = ((np.arange(GRID) + 0.5) * self.grid / GRID).astype(np.int64)
        inside = (place[:, None] == image.row) & (place == image.column)
        label = 1 + self.shown.index(image.shown)
        right = np.arange(GRID) >= GRID // 2
        offset = right * len(self.shown) if self.kind == CLASS_AND_HALF else 0 * right
        return np.where(inside, label + offset, 0)


def intersection_over_union(confusion: Labels) -> NDArray[np.float64]:
    """Of every class, (K,), from counts (K, K) of true (rows) and predicted labels.

    NaN where a class neither occurs nor was predicted.
    """
    both = np.diag(confusion)
    either = confusion.sum(0) + confusion.sum(1) - both
    return np.divide(both, either, out=np.full(len(both), np.nan), where=either > 0)
