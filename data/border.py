"""Rings of pixels by their distance to the nearest border of a map."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray


@functools.cache
def _rings(size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The pixels of a map (size, size), flattened, ring by ring; where in them each ring begins."""
    depth = np.minimum(np.arange(size), size - 1 - np.arange(size))
    rings = np.minimum.outer(depth, depth).ravel()
    order = np.argsort(rings, kind="stable")
    return order, np.flatnonzero(np.diff(rings[order], prepend=-1))


def ring_means(maps: NDArray[np.floating]) -> NDArray[np.float64]:
    """Means over the pixels of each ring, from the border inwards: (N, s, s) to (N, ceil(s/2))."""
    order, starts = _rings(maps.shape[-1])
    pixels = maps.reshape(len(maps), -1).take(order, 1)
    sums = np.add.reduceat(pixels, starts, axis=1, dtype=np.float64)
    return sums / np.diff(starts, append=len(order))
