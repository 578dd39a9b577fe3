"""Readings: what a head may see of a pooled vector."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from data.stream import Stream
from data.vocabulary import INPUT

Floats = NDArray[np.float64]
Reading = Callable[[Floats, int, int], Floats]

PERMUTED, FIXED = "permuted", "fixed"
TEST_DRAWS = 9  # permutations that the accuracy of `permuted` is averaged over
# Too few for softmax regression to forget the orders it saw (12 channels: 3 passes are .08 behind
# the mean of the channels, 40 passes .03); more cost more, and the solver is not fast enough yet.
TRAIN_DRAWS = 3  # passes over the training images, each batch with a permutation of its own
BATCH = 48  # images that share a permutation in training (PermuteNet's batch)
_PERMUTATION_KEY = 6
ROUNDING = 1e-6  # a smaller change over the places is not of the place

# Of vectors (n, C) and the permutation of channels that seed and draw give: (n, C') to read.
READINGS: dict[str, Reading] = {
    "ordered": lambda vectors, seed, draw: vectors,
    PERMUTED: lambda vectors, seed, draw: vectors[:, permutation(vectors.shape[1], seed, draw)],
    "sorted": lambda vectors, seed, draw: np.sort(vectors, axis=1),
    "mean": lambda vectors, seed, draw: vectors.mean(1, keepdims=True),
    FIXED: lambda vectors, seed, draw: vectors[:, permutation(vectors.shape[1], seed, 0)],
}
# A level as well as a reading: the mean of the pixels, in their order.
ALL_READINGS = (*READINGS, INPUT)


def permutation(channels: int, seed: int, draw: int) -> NDArray[np.int64]:
    """A random order of the channels."""
    return Stream(seed, _PERMUTATION_KEY, draw).order(channels)


def training_rows(
    reading: str, vectors: Floats, labels: NDArray[np.int64], seed: int
) -> tuple[Floats, NDArray[np.int64]]:
    """What a head is trained on, (n', C') and (n',), from vectors (n, C) in random order.

    Under `permuted` every batch has a permutation of its own, as PermuteNet has one a forward
    pass, so the images come more than once.
    """
    if reading != PERMUTED:
        return READINGS[reading](vectors, seed, 0), labels
    starts = range(0, len(vectors), BATCH)
    parts = [
        READINGS[PERMUTED](vectors[start : start + BATCH], seed, draw * len(starts) + number)
        for draw in range(TRAIN_DRAWS)
        for number, start in enumerate(starts, start=TEST_DRAWS)
    ]
    return np.concatenate(parts), np.tile(labels, TRAIN_DRAWS)


def scored_rows(reading: str, vectors: Floats, seed: int) -> list[Floats]:
    """What a head is scored on, (n, C') for each draw; accuracies are averaged over the draws."""
    draws = TEST_DRAWS if reading == PERMUTED else 1
    return [READINGS[reading](vectors, seed, draw) for draw in range(draws)]


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
