"""The synthetic images: black, white and uniform noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from data.stream import Stream

NOISE_IMAGES = 8
_NOISE_KEY = 1  # keeps the noise apart from the samples of the same seed


def black_image(size: int) -> NDArray[np.uint8]:
    """A black image, (size, size, 3) uint8, all 0."""
    return np.zeros((size, size, 3), np.uint8)


def white_image(size: int) -> NDArray[np.uint8]:
    """A white image, (size, size, 3) uint8, all 255."""
    return np.full((size, size, 3), 255, np.uint8)


def noise_image(index: int, seed: int, size: int) -> NDArray[np.uint8]:
    """Uniform noise, (size, size, 3) uint8: every pixel and channel independent over 0 ... 255."""
    return Stream(seed, _NOISE_KEY, index).bytes((size, size, 3))
