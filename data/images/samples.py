"""The embedded sample images: dead leaves, generated from a seed (see docs/samples.md).

A dead-leaves image is what one sees looking down on a forest floor: opaque shapes of all sizes that
fell at random places and hide one another (Lee, Mumford and Huang, IJCV 2001). Their radii follow
a power law, so the image looks alike at all scales and its amplitude spectrum falls about as 1/f,
as that of photographs does.

Nothing in the recipe knows where the border is, so the images carry no position.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from data.stream import Stream

TRAIN_SAMPLES = 256
TEST_SAMPLES = 64

_SAMPLE_KEY = 0
_SMALLEST_RADIUS = 1.0  # pixels
# Each octave of radii covers 1.3 times the ground of the one below, so p(r) ~ r^-2.6: measured to
# fit photographs better than the r^-3 of exact self-similarity, where all octaves cover the same.
_OCTAVE_RATIO = 1.3
_LAYERS = 6.0  # how often a point is covered, on average: e^-6 = 0.25 % of the ground stays bare
_WIDEST = 1.7  # square root of the largest ratio of a leaf's axes
_TILE = 256  # pixels a side of the texture, a power of two
_BLUR = 1  # pixels the blur reaches beyond the image

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class _Leaves:
    """Ellipses from the lowest to the topmost: the points a dx^2 + 2 b dx dy + c dy^2 <= 1."""

    x: Floats  # (n,) centres in pixels
    y: Floats
    radius: Floats  # (n,) of the circle of the same area, pixels
    a: Floats
    b: Floats
    c: Floats


def sample_image(index: int, seed: int, size: int = 224) -> NDArray[np.uint8]:
    """Sample `index` of the set that `seed` gives, (size, size, 3) uint8 RGB.

    The same on every machine. `size` is in pixels, and so are the leaves: a larger image shows
    more of them, not larger ones.
    """
    stream = Stream(seed, _SAMPLE_KEY, index)
    width = size + 2 * _BLUR
    leaves = _fallen_leaves(stream, width)
    owner = _visible_leaf(leaves, width)
    return _blurred(_painted(stream, leaves, owner, width))


def _fallen_leaves(stream: Stream, width: int) -> _Leaves:
    # Each octave of radii is dropped on the square that holds every centre from which a leaf of
    # it can reach the image, so a pixel at the border sees the same leaves as one in the middle.
    radii = [_SMALLEST_RADIUS]
    while 2.0 * radii[-1] < width:
        radii.append(2.0 * radii[-1])
    shares = [_OCTAVE_RATIO**number for number in range(len(radii))]
    octaves = [
        _octave(stream, radius, width, _LAYERS * share / sum(shares))
        for radius, share in zip(radii, shares, strict=True)
    ]
    x, y, radius = (np.concatenate(parts) for parts in zip(*octaves, strict=True))
    order = stream.order(len(radius))
    x, y, radius = x[order], y[order], radius[order]

    # A direction within 45 degrees of an axis from the half-angle formulas (no cosine needed);
    # a stretch above or below 1 makes the other half of all directions.
    tangent = stream.uniform(1.0 - math.sqrt(2.0), math.sqrt(2.0) - 1.0, len(radius))
    cosine = (1.0 - tangent * tangent) / (1.0 + tangent * tangent)
    sine = 2.0 * tangent / (1.0 + tangent * tangent)
    stretch = stream.uniform(1.0, _WIDEST, len(radius))
    stretch = np.where(stream.uniform(0.0, 1.0, len(radius)) < 0.5, stretch, 1.0 / stretch)
    along = 1.0 / (radius * stretch) ** 2
    across = 1.0 / (radius / stretch) ** 2
    return _Leaves(
        x=x,
        y=y,
        radius=radius,
        a=cosine * cosine * along + sine * sine * across,
        b=cosine * sine * (along - across),
        c=sine * sine * along + cosine * cosine * across,
    )


def _octave(
    stream: Stream, smallest: float, width: int, layers: float
) -> tuple[Floats, Floats, Floats]:
    """Centres and radii (x, y, r), each (n,), of the leaves of radii `smallest` to twice that."""
    margin = 2.0 * smallest * _WIDEST
    mean_square_radius = smallest * smallest * (8.0 / 3.0) * math.log(2.0)  # under r^-3
    ground = (width + 2.0 * margin) ** 2
    count = max(1, round(layers * ground / (math.pi * mean_square_radius)))
    x = stream.uniform(-margin, width + margin, count)
    y = stream.uniform(-margin, width + margin, count)
    # Within the octave p(r) ~ r^-3, which makes 1/r^2 uniform.
    radius = smallest / np.sqrt(stream.uniform(0.25, 1.0, count))
    return x, y, radius


def _visible_leaf(leaves: _Leaves, width: int) -> Integers:
    """Index of the leaf that each pixel shows, (width * width,); bare ground shows leaf 0."""
    determinant = leaves.a * leaves.c - leaves.b * leaves.b
    half_height = np.sqrt(leaves.a / determinant)
    leaf, row = _spans(leaves.y - half_height, leaves.y + half_height, width)

    dy = row - leaves.y[leaf]
    a = leaves.a[leaf]
    middle = leaves.x[leaf] - leaves.b[leaf] / a * dy
    half_width = np.sqrt(np.maximum(a - determinant[leaf] * dy * dy, 0.0)) / a
    span, column = _spans(middle - half_width, middle + half_width, width)

    owner = np.zeros(width * width, np.int64)
    owner[row[span] * width + column] = leaf[span]  # the last of repeated pixels stays: the top
    return owner


def _spans(low: Floats, high: Floats, width: int) -> tuple[Integers, Integers]:
    """Every integer of [0, width) in each interval: (which interval, the integer), both (m,)."""
    first = np.maximum(np.ceil(low), 0.0).astype(np.int64)
    last = np.minimum(np.floor(high), width - 1.0).astype(np.int64)
    counts = np.maximum(last - first + 1, 0)
    which = np.repeat(np.arange(len(counts)), counts)
    before = np.cumsum(counts) - counts
    return which, np.arange(len(which)) - np.repeat(before - first, counts)


def _painted(stream: Stream, leaves: _Leaves, owner: Integers, width: int) -> NDArray[np.int16]:
    """The leaves in colour, shaded and textured, (width, width, 3) of 0 ... 255."""
    count = len(leaves.x)
    # Photographs: levels of one image differ less than levels of all, and channels go together.
    light = stream.uniform(75.0, 150.0, 1) + stream.uniform(35.0, 70.0, 1) * stream.bell(count)
    warmth = stream.uniform(-25.0, 40.0, 1) + 14.0 * stream.bell(count)
    green = 7.0 * stream.bell(count)

    # A slope of light across each leaf, and a share of the texture that is its own.
    slope_x = stream.uniform(-20.0, 20.0, count) / leaves.radius
    slope_y = stream.uniform(-20.0, 20.0, count) / leaves.radius
    slope_x[0] = slope_y[0] = 0.0  # the bare ground has no extent to be sloped over
    offset = light - slope_x * leaves.x - slope_y * leaves.y
    roughness = stream.uniform(0.0, 18.0, count)
    shift_x = (stream.words(count) % np.uint64(_TILE)).astype(np.int64)
    shift_y = (stream.words(count) % np.uint64(_TILE)).astype(np.int64)

    y, x = np.divmod(np.arange(width * width), width)
    texel = ((y + shift_y[owner]) % _TILE) * _TILE + (x + shift_x[owner]) % _TILE
    light_here = offset[owner] + slope_x[owner] * x + slope_y[owner] * y
    light_here += roughness[owner] * _texture()[texel]
    image = np.empty((width, width, 3), np.int16)
    for channel, colour in enumerate((warmth - green, green, -warmth - green)):
        level = np.clip(light_here + colour[owner], 0.0, 255.0)
        image[..., channel] = level.reshape(width, width)
    return image


@lru_cache(maxsize=1)
def _texture() -> Floats:
    """A texture that repeats, (_TILE * _TILE,), mean 0: the same share from every octave."""
    stream = Stream(0, _SAMPLE_KEY)
    texture = np.zeros((_TILE, _TILE))
    for cells in (8, 16, 32, 64, 128, 256):
        grid = stream.uniform(-1.0, 1.0, (cells, cells))
        while len(grid) < _TILE:
            grid = _doubled(_doubled(grid).T).T
        texture += grid
    texture.setflags(write=False)
    return texture.reshape(-1)


def _doubled(grid: Floats) -> Floats:
    """Twice the rows, by linear interpolation that wraps around."""
    after = np.concatenate([grid[1:], grid[:1]])
    return np.stack([grid, 0.5 * (grid + after)], axis=1).reshape(2 * len(grid), -1)


def _blurred(image: NDArray[np.int16]) -> NDArray[np.uint8]:
    """Weights 1 6 1 along both axes, a pixel less all round: soft as a resized photograph."""
    rows = image[:-2] + 6 * image[1:-1] + image[2:]
    both = rows[:, :-2] + 6 * rows[:, 1:-1] + rows[:, 2:]
    return ((both + 32) >> 6).astype(np.uint8)
