"""Rings of pixels by their distance to the nearest border of a map."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray


@functools.cache
def _rings(size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The ring of every pixel of a map (size, size), flattened, and how many pixels each has."""
    depth = np.minimum(np.arange(size), size - 1 - np.arange(size))
    rings = np.minimum.outer(depth, depth).ravel()
    return rings, np.bincount(rings)


def ring_means(maps: NDArray[np.floating]) -> NDArray[np.float64]:
    """Means over the pixels of each ring, from the border inwards: (N, s, s) to (N, ceil(s/2))."""
    rings, counts = _rings(maps.shape[-1])
    return np.stack([np.bincount(rings, weights=one.ravel()) / counts for one in maps])
