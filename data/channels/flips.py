"""The published rankings: how a pooled vector changes when the image is mirrored.

Islam et al. (ICCV 2021) rank channels by the mean of |z(x) - z(mirrored x)|, and for a region by
the mean of the signed difference. The first holds the handedness of filters and the phase of
strides beside position: what the same network shows without a border, under circular padding,
is its null. The second is zero in expectation for any network where mirrored images are as likely
as images, so it measures the asymmetry of the image set.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def flip_scores(images: Floats, mirrored: Floats) -> dict[str, Floats]:
    """`flip` and `flip_signed`, (C,) each, of the vectors (n, C) of images and their mirrors."""
    difference = images - mirrored
    return {"flip": np.abs(difference).mean(0), "flip_signed": difference.mean(0)}


def with_null(scores: dict[str, Floats], null: dict[str, Floats]) -> dict[str, Floats]:
    """The scores beside those of the network without a border, and `flip` less its null."""
    beside = {f"{name}_null": values for name, values in null.items()}
    return {**scores, **beside, "flip_corrected": scores["flip"] - null["flip"]}
