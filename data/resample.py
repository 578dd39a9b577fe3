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
    low, high, weight = _neighbours(source, target, align_corners)
    matrix = np.zeros((target, source))
    rows = np.arange(target)
    matrix[rows, low] += 1.0 - weight
    matrix[rows, high] += weight
    return matrix


def bilinear_maps(maps: NDArray[np.float32], target: int) -> NDArray[np.float32]:
    """Maps (..., n, n) float32 at (..., target, target), align_corners=False.

    The same as two products with `bilinear_matrix`, in a few passes over memory and without
    BLAS, whose threads would fight the threads that call this. A constant map stays exactly
    constant, so its SPC stays undefined.
    """
    low, high, share = _neighbours(maps.shape[-1], target, False)
    weight = share.astype(np.float32)
    return _between(_between(maps, low, high, weight, -1), low, high, weight[:, None], -2)


def _between(
    maps: NDArray[np.float32],
    low: NDArray[np.int64],
    high: NDArray[np.int64],
    weight: NDArray[np.float32],
    axis: int,
) -> NDArray[np.float32]:
    """Along an axis: low + (high - low) * weight, in one new array beside a copy of the lower."""
    lower = np.take(maps, low, axis)
    result: NDArray[np.float32] = np.take(maps, high, axis)
    result -= lower
    result *= weight
    result += lower
    return result


def _neighbours(
    source: int, target: int, align_corners: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """For every target cell: the two source cells it lies between, and the weight of the second."""
    position = np.arange(target, dtype=np.float64)
    if align_corners:
        position *= (source - 1) / max(target - 1, 1)
    else:
        position = np.maximum((position + 0.5) * (source / target) - 0.5, 0.0)
    low = np.minimum(position.astype(np.int64), source - 1)
    return low, np.minimum(low + 1, source - 1), position - low
