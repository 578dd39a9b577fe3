"""The principal directions of a training set: one Gram matrix, which every solver shares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

DEAD = 1e-12  # share of a column's square in its variance, below which it says nothing
NEGLIGIBLE = 1e-10  # share of the variance, below which a direction is left out

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Directions:
    """Standardised columns, and orthonormal axes of their space."""

    mean: Tensor  # (C,), of the training images
    scale: Tensor  # (C,), 1 / standard deviation; 0 of columns that are constant
    axes: Tensor  # (C, r)
    squares: Tensor  # (r,), mean square of the training images along each

    @classmethod
    def of(cls, vectors: Floats) -> Directions:
        """Of vectors (n, C): each column in its own standard deviations."""
        columns = torch.from_numpy(vectors)
        mean = columns.mean(0)
        variance = (columns - mean).square().mean(0)
        alive = variance > DEAD * columns.square().mean(0)
        scale = torch.where(alive, variance.rsqrt(), 0.0)
        standard = (columns - mean) * scale
        count, channels = standard.shape
        if channels <= count:
            squares, axes = torch.linalg.eigh(standard.T @ standard / count)
        else:
            squares, images = torch.linalg.eigh(standard @ standard.T / count)
            axes = standard.T @ images / (count * squares.clamp(min=1e-300)).sqrt()
        kept = squares > NEGLIGIBLE * squares.sum().clamp(min=1e-300)
        return cls(mean, scale, axes[:, kept], squares[kept])

    @classmethod
    def of_every_order(cls, vectors: Floats) -> Directions:
        """Of vectors (n, C) in all orders of their channels, each equally often.

        All columns are then alike, and a convex loss is least where the weights of a class are
        equal (Jensen's inequality): the only direction that counts is the sum of the channels.
        """
        columns = torch.from_numpy(vectors)
        channels = columns.shape[1]
        mean = columns.mean().expand(channels)
        variance = (columns - mean).square().mean()
        scale = (variance.rsqrt() if variance > 0 else variance).expand(channels)
        axes = columns.new_full((channels, 1), channels**-0.5)
        squares = (((columns - mean) * scale) @ axes).square().mean(0)
        return cls(mean, scale, axes, squares)

    def rows(self, vectors: Floats) -> Tensor:
        """Vectors (n, C) along the axes, (n, r)."""
        return ((torch.from_numpy(vectors) - self.mean) * self.scale) @ self.axes
