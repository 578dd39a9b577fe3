"""Readings: what a head may see of a pooled vector."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.stream import Stream
from data.vocabulary import INPUT
from probe.placed.directions import Directions, Floats

TEST_DRAWS = 9  # permutations that the accuracy of `permuted` is averaged over (PermuteNet's)
_PERMUTATION_KEY = 6
ROUNDING = 1e-6  # a smaller change over the places is not of the place


@dataclass(frozen=True)
class Reading:
    """A way to see vectors, and the directions that a head on it has."""

    see: Callable[[Floats, int, int], Floats]  # vectors (n, C), seed, draw -> (n, C')
    directions: Callable[[Floats], Directions] = Directions.of
    draws: int = 0  # random permutations that accuracies are averaged over


def _permuted(vectors: Floats, seed: int, draw: int) -> Floats:
    return vectors[:, permutation(vectors.shape[1], seed, draw)]


def _ordered(vectors: Floats, seed: int, draw: int) -> Floats:
    return vectors


READINGS: dict[str, Reading] = {
    "ordered": Reading(_ordered),
    # Solved for over all permutations at once, the limit of one a batch (PermuteNet).
    "permuted": Reading(_permuted, Directions.of_every_order, TEST_DRAWS),
    "sorted": Reading(lambda vectors, seed, draw: np.sort(vectors, axis=1)),
    "mean": Reading(lambda vectors, seed, draw: vectors.mean(1, keepdims=True)),
    "fixed": Reading(lambda vectors, seed, draw: _permuted(vectors, seed, 0)),
    INPUT: Reading(_ordered),  # a level as well: the means of the three colours
}


def readings_of(level: str) -> list[str]:
    """The readings that a level has."""
    return [name for name in READINGS if (name == INPUT) == (level == INPUT)]


def permutation(channels: int, seed: int, draw: int) -> NDArray[np.int64]:
    """A random order of the channels."""
    return Stream(seed, _PERMUTATION_KEY, draw).order(channels)


def without_rounding(vectors: NDArray[np.float32]) -> Floats:
    """Pooled vectors (patches, cells, C) in float64, in which places differ by more than rounding.

    Where a channel of a patch changes over the cells by less than 1e-6 of the level's mean
    magnitude, it is replaced by its mean over them: a network without a border has the same
    vector at every place, and a head can tell places neither by the last bits nor by luck.
    """
    exact = vectors.astype(np.float64)
    spread = np.ptp(exact, axis=1, keepdims=True)
    still = spread <= ROUNDING * abs(exact).mean()
    return np.where(still, exact.mean(1, keepdims=True), exact)
