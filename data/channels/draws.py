"""Random channels, to compare those of a ranking with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from data.stream import Stream

_DRAW_KEY = 7


def random_order(channels: int, seed: int, draw: int) -> NDArray[np.int64]:
    """The channels in random order, (channels,): the first N are the N of this draw."""
    return Stream(seed, _DRAW_KEY, draw).order(channels)
