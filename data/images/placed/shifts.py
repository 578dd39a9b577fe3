"""Images moved by whole pixels, in the three ways that consistency is measured with."""

from __future__ import annotations

import numpy as np

from data.images.placed.patches import Pixels

SHIFTS = ("crop", "zero", "roll")
MOST = 8  # pixels, the largest shift unless asked otherwise


def needed(kind: str, size: int, most: int) -> int:
    """Pixels a side of the image that gives windows of `size` under shifts up to `most`."""
    return size + most if kind == "crop" else size


def shifted(image: Pixels, kind: str, size: int, pixels: int) -> Pixels:
    """An image moved by `pixels` down and to the right, (size, size, 3).

    - "crop": another window of a larger image, (size + m, size + m, 3); nothing is made up.
      Zhang (2019) draws both windows at random; here one stays.
    - "zero": zeros where it came from, and cut where it went. Chaman and Dokmanic (2021) draw the
      shift, along each axis from -m to m - 1.
    - "roll": what leaves comes in on the other side (the same, "circular").
    """
    if kind == "crop":
        start = len(image) - size - pixels
        return image[start : start + size, start : start + size]
    if kind == "zero":
        return np.pad(image, ((pixels, 0), (pixels, 0), (0, 0)))[:size, :size]
    assert kind == "roll", kind
    return np.roll(image, (pixels, pixels), (0, 1))
