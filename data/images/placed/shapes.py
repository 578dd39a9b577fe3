"""Shapes: small images of ten classes, generated from a seed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from data.stream import Stream

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

_SHAPE_KEY = 4
_THIN = 0.55  # inner size of rings and frames, relative to the outer
_PERIODS = 4  # of bars and stripes across a shape

# Of coordinates from the middle in half sizes: which points belong to the shape.
_INSIDE: dict[str, Callable[[Floats, Floats], Mask]] = {
    "disc": lambda x, y: x * x + y * y <= 1,
    "ring": lambda x, y: (x * x + y * y <= 1) & (x * x + y * y > _THIN**2),
    "box": lambda x, y: _box(x, y),
    "frame": lambda x, y: _box(x, y) & (np.maximum(abs(x), abs(y)) > _THIN),
    "triangle": lambda x, y: (y <= 1) & (abs(x) <= (y + 1) / 2),
    "cross": lambda x, y: _box(x, y) & (np.minimum(abs(x), abs(y)) <= 0.3),
    "horizontal bars": lambda x, y: _box(x, y) & _bars(y),
    "vertical bars": lambda x, y: _box(x, y) & _bars(x),
    "checker": lambda x, y: _box(x, y) & (_bars(x) ^ _bars(y)),
    "stripes": lambda x, y: _box(x, y) & _bars((x + y) / np.sqrt(2.0)),
}
SHAPES = tuple(_INSIDE)


def shape_image(index: int, seed: int, size: int) -> NDArray[np.uint8]:
    """Shape `index`, of class `index % 10`, (size, size, 3) uint8 RGB.

    A shape of a colour of its own, about in the middle, on ground of another colour; both are
    lightly grained. Half its size is .28 to .42 of the side, its middle within .06 of the image's.
    """
    stream = Stream(seed, _SHAPE_KEY, index)
    middle = 0.5 + stream.uniform(-0.06, 0.06, 2)
    half = stream.uniform(0.28, 0.42, 1)
    ground, colour = _colours(stream)
    centres = (np.arange(size) + 0.5) / size
    x, y = (centres[None, :] - middle[0]) / half, (centres[:, None] - middle[1]) / half
    inside = _INSIDE[SHAPES[index % len(SHAPES)]](*np.broadcast_arrays(x, y))
    image = np.where(inside[..., None], colour, ground)
    image = image + stream.uniform(-0.05, 0.05, (size, size, 1))
    return np.round(255 * image.clip(0, 1)).astype(np.uint8)


def _colours(stream: Stream) -> tuple[Floats, Floats]:
    # One channel at least differs clearly, whatever the others do.
    ground, colour = stream.uniform(0.1, 0.9, 3), stream.uniform(0.1, 0.9, 3)
    channel = int(stream.words(1)[0] % np.uint64(3))
    colour[channel] = (ground[channel] + 0.5) % 1.0
    return ground, colour


def _box(x: Floats, y: Floats) -> Mask:
    return np.maximum(abs(x), abs(y)) <= 1


def _bars(position: Floats) -> Mask:
    return np.floor((position + 1) * _PERIODS).astype(np.int64) % 2 == 0
