"""The generated sets: scenes whose masks cannot be had without knowing where things are.

Saliency: a few objects alike in colour, shape and texture, of which the one near the centre is
salient: the centre bias of photographs, made pure. Segmentation: rectangles of one colour and
texture, "ground" in the lower part of the image and "wall" above it, among discs and boxes whose
colours tell what they are anywhere. The same, bit for bit, on every machine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from data.stream import Stream

CLASSES = ("background", "ground", "wall", "disc", "box")
PLACES_TRIED = 200  # for the others: now and then there is no room for another one
WALL = (0.1, 0.45)  # the rows, of the height, where centres of walls lie, from the top ...
GROUND = (0.65, 0.9)  # ... and those of the ground, which looks the same
CENTRE_SPREAD = 0.14  # largest distance of the salient object from the centre, along each axis
DISTRACTOR_DISTANCE = 0.33  # smallest distance of the others from the centre

# Mean colours of the surfaces; each image has its own shades of them.
_PALETTE = {
    "background": (0.45, 0.55, 0.55),
    "objects": (0.75, 0.40, 0.25),
    "rectangles": (0.75, 0.60, 0.25),
    "disc": (0.75, 0.20, 0.25),
    "box": (0.20, 0.25, 0.70),
}
_SHADES = 0.1  # largest difference of a shade from its mean, in each channel

_KEYS = {"saliency": 2, "segmentation": 3}  # 0 and 1 are the sample and noise images

Floats = NDArray[np.float64]
Scene = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def scene(task: str, index: int, seed: int, size: int) -> Scene:
    """Scene `index` of the set that `seed` gives: an image and its mask.

    Image (size, size, 3) uint8 RGB; mask (size, size) uint8: 1 is salient, or an index of
    `CLASSES`. Lengths are in units of the image, so another `size` shows the same scene.
    """
    stream = Stream(seed, _KEYS[task], index)
    image, mask = (_saliency if task == "saliency" else _segmentation)(stream, size)
    return np.rint(255 * image.clip(0, 1)).astype(np.uint8), mask


def _saliency(stream: Stream, size: int) -> tuple[Floats, NDArray[np.uint8]]:
    image = _shaded(stream, size, "background")
    objects = _shaded(stream, size, "objects")
    radius, stretch, kind = _between(stream, [0.09, 0.85, 0], [0.13, 1.15, 2])
    half = radius * np.array([stretch, 1 / stretch])
    centre = 0.5 + stream.uniform(-CENTRE_SPREAD, CENTRE_SPREAD, 2)
    mask = np.zeros((size, size), np.uint8)
    for place in _distractors(stream, centre, radius):
        inside = _shape(size, place, half, disc=kind < 1)
        image[inside] = objects[inside]
    inside = _shape(size, centre, half, disc=kind < 1)
    image[inside] = objects[inside]
    mask[inside] = 1
    return image, mask


def _distractors(stream: Stream, centre: Floats, radius: float) -> list[Floats]:
    """Two to four places, as far as there is room, apart and well away from the centre."""
    wanted = 2 + int(stream.words(1)[0] % np.uint64(3))
    places: list[Floats] = []
    for _ in range(PLACES_TRIED):
        if len(places) == wanted:
            break
        place = stream.uniform(radius, 1 - radius, 2)
        apart = all(_distance(place, other) > 3 * radius for other in [centre, *places])
        if apart and _distance(place, np.array([0.5, 0.5])) > DISTRACTOR_DISTANCE:
            places.append(place)
    return places


def _segmentation(stream: Stream, size: int) -> tuple[Floats, NDArray[np.uint8]]:
    image = _shaded(stream, size, "background")
    rectangles = _shaded(stream, size, "rectangles")
    mask = np.zeros((size, size), np.uint8)
    third = bool(stream.words(1)[0] % np.uint64(2))
    for low in (True, False, third):
        top, bottom = GROUND if low else WALL
        place = _between(stream, [0.15, top], [0.85, bottom])
        half = _between(stream, [0.15, 0.08], [0.25, 0.13])
        inside = _shape(size, place, half, disc=False)
        image[inside] = rectangles[inside]
        mask[inside] = CLASSES.index("ground" if low else "wall")
    for name in ("disc", "box"):
        place = stream.uniform(0.1, 0.9, 2)
        inside = _shape(size, place, np.array([0.11, 0.11]), disc=name == "disc")
        image[inside] = _shaded(stream, size, name)[inside]
        mask[inside] = CLASSES.index(name)
    return image, mask


def _shaded(stream: Stream, size: int, name: str) -> Floats:
    """A surface of the palette, in a shade of its own."""
    return _surface(stream, size, np.array(_PALETTE[name]) + stream.uniform(-_SHADES, _SHADES, 3))


def _surface(stream: Stream, size: int, colour: Floats) -> Floats:
    """A surface of one colour with waves and grain, (size, size, 3)."""
    x, y = _offsets(size, np.zeros(2))
    light = stream.uniform(-0.05, 0.05, (size, size))
    for _ in range(3):
        across, down, phase = _between(stream, [-14, -14, 0], [14, 14, 1])
        turns = across * x + down * y + phase
        light += 0.04 * (4 * abs(turns - np.floor(turns) - 0.5) - 1)  # a triangle wave
    return colour + light[:, :, None]


def _shape(size: int, place: Floats, half: Floats, *, disc: bool) -> NDArray[np.bool_]:
    """The pixels of an ellipse or a box around `place`; both arguments (x, y)."""
    x, y = _offsets(size, place)
    if disc:
        return (x / half[0]) ** 2 + (y / half[1]) ** 2 <= 1
    return (abs(x) <= half[0]) & (abs(y) <= half[1])


def _offsets(size: int, place: Floats) -> tuple[Floats, Floats]:
    """Distances of the pixels' centres from `place`: (1, size) along x, (size, 1) along y."""
    centres = (np.arange(size) + 0.5) / size
    return centres[None, :] - place[0], centres[:, None] - place[1]


def _between(stream: Stream, low: list[float], high: list[float]) -> Floats:
    """One uniform number in each interval [low, high)."""
    return np.array(low) + np.subtract(high, low) * stream.uniform(0, 1, len(low))


def _distance(first: Floats, second: Floats) -> float:
    return float(np.sqrt(np.square(first - second).sum()))
