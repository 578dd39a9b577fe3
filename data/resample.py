"""Bilinear resampling as a matrix, so that every stage resamples alike and exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def bilinear_matrix(
    source: int, target: int, *, align_corners: bool = False
) -> NDArray[np.float64]:
    """The matrix A, (target, source) float64, of one axis of PyTorch's bilinear interpolation.

    A map P (source, source) becomes A P A^T, (target, target): what
    `torch.nn.functional.interpolate(mode="bilinear", antialias=False)` computes.
    """
    position = np.arange(target, dtype=np.float64)
    if align_corners:
        position *= (source - 1) / max(target - 1, 1)
    else:
        position = np.maximum((position + 0.5) * (source / target) - 0.5, 0.0)
    low = np.minimum(position.astype(np.int64), source - 1)
    high = np.minimum(low + 1, source - 1)
    weight = position - low
    matrix = np.zeros((target, source))
    rows = np.arange(target)
    matrix[rows, low] += 1.0 - weight
    matrix[rows, high] += weight
    return matrix
