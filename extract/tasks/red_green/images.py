"""The images of Red-Green: a red and a green block on black, each class in its own rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIDE, BLOCK = 32, 4  # pixels a side of the image and of a block
ROWS = (7, 23)  # around which the blocks of class 0 and of class 1 lie
SHIFT = 16  # rows down for class 0 and up for class 1: each class where the other was
PUBLISHED_SEED, FRESH_SEED = 1988, 7
_ROOM = SIDE - BLOCK
_WANDER = 4  # rows up from those of the class, or down, the last left out
_APART = BLOCK + 1  # columns between the blocks' left sides, at least


@dataclass(frozen=True)
class RedGreenImages:
    """`similar` and `dissimilar` images (N, 3, 32, 32) float32 of 0 and 1; `labels` (N,) int64.

    The dissimilar images are the similar ones with the rows of the classes exchanged: what tells
    the classes apart everywhere, the order of the colours, is as it was.
    """

    similar: NDArray[np.float32]
    dissimilar: NDArray[np.float32]
    labels: NDArray[np.int64]


def red_green_images(count: int, seed: int) -> RedGreenImages:
    """The first `count` images of a seed; classes alternate.

    Class 0 has red to the left of green, class 1 green to the left of red. The draws are those of
    the authors' `utils_red_green.py`, one by one, from NumPy's legacy generator, whose stream is
    frozen: with seed 1988 these are the published training images, and their first 1,000 are the
    published validation and test images as well.
    """
    draw = np.random.RandomState(seed)
    images = np.zeros((2, count, 3, SIDE, SIDE), np.float32)
    labels = np.arange(count) % 2
    for index, label in enumerate(labels.tolist()):
        left = draw.randint(_ROOM // 2 - BLOCK)
        places = [(left, _row(draw, label)), (draw.randint(left, _ROOM), _row(draw, label))]
        while places[1][0] - left < _APART:
            places[1] = (draw.randint(left, _ROOM), _row(draw, label))
        for moved, rows in enumerate((0, SHIFT if label == 0 else -SHIFT)):
            for channel, (x, y) in zip((label, 1 - label), places, strict=True):
                top = y + rows
                images[moved, index, channel, top : top + BLOCK, x : x + BLOCK] = 1.0
    return RedGreenImages(images[0], images[1], labels)


def _row(draw: np.random.RandomState, label: int) -> int:
    return int(draw.randint(-_WANDER, _WANDER)) + ROWS[label]
