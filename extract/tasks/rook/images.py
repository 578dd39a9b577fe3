"""The two images of the rook: one at the top left of a black canvas, one at the bottom right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.images.decoding import DecodingError, decode_image, read_image_file
from data.stream import Stream
from data.tools.errors import UserError

Greys = NDArray[np.float32]

SIDE = 32  # pixels of the canvas
_STAMP_KEY = 7
_DARKEST = 0.6  # grain of the stamp: greys from here to white
_ROOK = """
###..###..###
###..###..###
###..###..###
#############
#############
.###########.
..#########..
..#########..
..#########..
..#########..
..#########..
.###########.
.###########.
#############
#############
#############
"""


def stamp(seed: int = 0) -> Greys:
    """A grained rook that touches every side of its patch: (16, 13) float32 in [0, 1]."""
    drawn = np.array([[letter == "#" for letter in row] for row in _ROOK.split()])
    grain = Stream(_STAMP_KEY, seed).uniform(_DARKEST, 1.0, drawn.shape)
    return np.where(drawn, grain, 0.0).astype(np.float32)


def placed_twice(patch: Greys, margin: int) -> Greys:
    """A patch (h, w) `margin` pixels from the top left and from the bottom right corner.

    Returns (2, 1, 32, 32) float32, black elsewhere: class 0 and class 1.
    """
    height, width = patch.shape
    images = np.zeros((2, 1, SIDE, SIDE), np.float32)
    images[0, 0, margin : margin + height, margin : margin + width] = patch
    bottom, right = SIDE - margin, SIDE - margin
    images[1, 0, bottom - height : bottom, right - width : right] = patch
    return images


def read_greys(paths: Sequence[Path]) -> Greys:
    """Two image files as (2, 1, 32, 32) float32 in [0, 1], the mean of their channels."""
    images = []
    for path in paths:
        try:
            images.append(decode_image(read_image_file(path), SIDE).mean(2) / 255)
        except DecodingError as error:
            raise UserError(f"{path}: {error}: give another image") from error
    return np.stack(images)[:, None].astype(np.float32)
