"""How much of each channel's variance is of the place.

A patch lies at every cell, so that what it shows cancels in the mean over patches: what is left
to vary over the cells is of the place. The cells of an aligned map are places of that kind too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
REGIONS = ("left", "right", "top", "bottom", "centre")
SHARES = ("eta", "eta_row", "eta_column", "eta_ring")


@dataclass(frozen=True)
class Places:
    """The cells of a grid that were used, in the order of their numbers."""

    cells: Sequence[tuple[int, int]]  # row and column of each
    grid: int  # cells a side

    @property
    def groups(self) -> dict[str, NDArray[np.int64]]:
        """For each of `SHARES` the group of every cell, (cells,)."""
        rows, columns = np.array(self.cells).T
        return {
            "eta": np.arange(len(self.cells)),
            "eta_row": rows,
            "eta_column": columns,
            "eta_ring": self.rings,
        }

    @property
    def rings(self) -> NDArray[np.int64]:
        """Cells between each cell and the nearest edge, (cells,)."""
        rows, columns = np.array(self.cells).T
        last = self.grid - 1
        return np.minimum.reduce([rows, columns, last - rows, last - columns])

    @property
    def regions(self) -> dict[str, NDArray[np.bool_]]:
        """For each of `REGIONS` the cells inside, (cells,); the centre is the innermost ring."""
        rows, columns = np.array(self.cells).T
        middle = (self.grid - 1) / 2
        return {
            "left": columns < middle,
            "right": columns > middle,
            "top": rows < middle,
            "bottom": rows > middle,
            "centre": self.rings == (self.grid - 1) // 2,
        }


@dataclass(frozen=True)
class Spread:
    """Means and variances of the channels over patches and cells, float64."""

    means: Floats  # (cells, C), over patches
    total: Floats  # (C,), variance over patches and cells
    within: Floats  # (C,), variance over the cells of a patch, averaged over patches

    @classmethod
    def of(cls, vectors: Floats) -> Spread:
        """Of pooled vectors (patches, cells, C)."""
        return cls(vectors.mean(0), vectors.var((0, 1)), vectors.var(1).mean(0))

    def share(self, groups: NDArray[np.int64]) -> Floats:
        """Eta squared, (C,): the part of the variance that lies between groups of cells (cells,).

        Zero for a channel that never changes.
        """
        names, counts = np.unique(groups, return_counts=True)
        means = np.stack([self.means[groups == name].mean(0) for name in names])
        between = np.average(np.square(means - self.means.mean(0)), axis=0, weights=counts)
        return np.divide(between, self.total, out=np.zeros_like(between), where=self.total > 0)

    def contrast(self, inside: NDArray[np.bool_]) -> Floats:
        """Mean at the cells inside minus that at the rest, over the deviation within a patch, (C,).

        Zero for a channel that does not change over the cells; NaN where no cell, or every cell,
        is inside.
        """
        if inside.all() or not inside.any():
            return np.full(self.means.shape[1], np.nan)
        difference = self.means[inside].mean(0) - self.means[~inside].mean(0)
        deviation = np.sqrt(self.within)
        return np.divide(difference, deviation, out=np.zeros_like(difference), where=deviation > 0)


class Moments:
    """Sums over images that the `Spread` of their maps is made from, a batch at a time."""

    def __init__(self, channels: int, cells: int) -> None:
        self._means = np.zeros((cells, channels))
        self._squares, self._within = np.zeros(channels), np.zeros(channels)
        self._images = 0

    def add(self, maps: NDArray[np.floating]) -> None:
        """Take in the maps of some images, (B, C, cells)."""
        values = maps.astype(np.float64)
        self._means += values.sum(0).T
        self._squares += np.square(values).mean(2).sum(0)
        self._within += values.var(2).sum(0)
        self._images += len(values)

    @property
    def spread(self) -> Spread:
        """Over all images."""
        means = self._means / self._images
        total = self._squares / self._images - np.square(means.mean(0))
        return Spread(means, np.maximum(total, 0), self._within / self._images)


def place_scores(spread: Spread, places: Places) -> dict[str, Floats]:
    """Every score of `SHARES` and `REGIONS`, (C,) each."""
    shares = {name: spread.share(groups) for name, groups in places.groups.items()}
    return shares | {name: spread.contrast(inside) for name, inside in places.regions.items()}
