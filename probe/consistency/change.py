"""The relative change of pooled vectors under shifts of the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Change:
    """What small shifts do to one kind of pooled vectors."""

    # Distance to the vector of the image as it is, over its length: (images, m) for shifts by
    # 1, ..., m pixels; NaN where that vector is zero.
    images: Floats
    # The same of single channels, means over images and shifts: (C,); NaN where one is always 0.
    channels: Floats
    # Distance to the vector of another image, over the length, mean over pairs: what a change of
    # content makes.
    between: float

    @classmethod
    def of(cls, vectors: NDArray[np.floating]) -> Change:
        """From vectors (images, 1 + m, C), those of the images as they are first."""
        exact = vectors.astype(np.float64)
        still, moved = exact[:, 0], exact[:, 1:]
        difference = moved - still[:, None]
        lengths = np.linalg.norm(still, axis=1)
        others = np.linalg.norm(np.roll(still, 1, axis=0) - still, axis=1)
        return cls(
            _over(np.linalg.norm(difference, axis=2), lengths[:, None]),
            _over(np.abs(difference).mean((0, 1)), np.abs(still).mean(0)),
            float(np.nanmean(_over(others, lengths))) if lengths.any() else np.nan,
        )


def _over(values: Floats, by: Floats) -> Floats:
    return np.divide(values, by, out=np.full_like(values, np.nan), where=by != 0)
