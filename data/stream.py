"""Random numbers that are the same, bit for bit, on every machine and in every NumPy."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Shape = int | tuple[int, ...]


class Stream:
    """Numbers drawn from the raw output of PCG64, seeded with a key of non-negative integers.

    Different keys give independent streams. Only what NumPy promises to keep is used (seeding and
    the raw 64-bit words; its `Generator` methods may change), and only arithmetic that IEEE 754
    fixes to the last bit: no logarithm, no cosine, no sum in an order of NumPy's choosing.
    """

    def __init__(self, *key: int) -> None:
        self._words = np.random.PCG64(np.random.SeedSequence(key))

    def words(self, count: int) -> NDArray[np.uint64]:
        """The next `count` words, each uniform over 0 ... 2^64 - 1."""
        return self._words.random_raw(count).astype(np.uint64, copy=False)

    def bytes(self, shape: Shape) -> NDArray[np.uint8]:
        """Independent numbers uniform over 0 ... 255."""
        count = int(np.prod(shape))
        raw = self.words(-(-count // 8)).astype("<u8").view(np.uint8)
        return raw[:count].reshape(shape)

    def uniform(self, low: float, high: float, shape: Shape) -> NDArray[np.float64]:
        """Independent numbers uniform over [low, high)."""
        unit = (self.words(int(np.prod(shape))) >> np.uint64(11)) * 2.0**-53
        return (low + (high - low) * unit).reshape(shape)

    def bell(self, shape: Shape) -> NDArray[np.float64]:
        """Independent numbers of mean 0, variance 1, within 3.47: nearly normal, sums of four."""
        a, b, c, d = (self.uniform(-0.5, 0.5, shape) for _ in range(4))
        return ((a + b) + (c + d)) * math.sqrt(3.0)  # four uniforms of variance 1/12 each

    def order(self, count: int) -> NDArray[np.int64]:
        """A random permutation of 0 ... count - 1."""
        return np.argsort(self.words(count), kind="stable")
