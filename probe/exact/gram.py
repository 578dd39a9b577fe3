"""The normal equations of linear heads, accumulated image by image.

A head of depth 1 without sigmoid is P = b 11^T + sum over channels c and taps (dy, dx) of
w[c, dy, dx] S_dy X_c S_dx^T, where S_dy cuts the rows that the tap sees out of the zero-padded
map. Its loss (probe/loss.py) is ||R P R^T - Q^T T Q||^2: least squares whose columns are the maps
(R S_dy) X_c (R S_dx)^T. Their Gram matrix does not depend on the target, so that one matrix
serves every pattern, and its sub-matrices every set of levels within its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from data.vocabulary import GRID
from probe.loss import reduced_targets

# Images per sum and product: few enough that float32 keeps 6 digits, many enough to be fast.
IMAGES_AT_ONCE = 4
TILE = 384  # columns per product: only tiles on and below the diagonal are computed


class Columns:
    """The columns of one shape of head: kernel size, probe padding, resolution of the loss."""

    def __init__(
        self, kernel_size: int, probe_padding: int, resolution: int | None, device: torch.device
    ) -> None:
        self.kernel_size = kernel_size
        self.size = GRID + 2 * probe_padding - kernel_size + 1  # n, of the heads' outputs
        side = resolution or self.size
        triangle, _, _ = reduced_targets(np.zeros((1, side, side)), self.size)
        padded = np.eye(GRID + 2 * probe_padding, GRID, -probe_padding)
        taps = [triangle @ padded[tap : tap + self.size] for tap in range(kernel_size)]
        self.taps = torch.from_numpy(np.concatenate(taps)).to(device)  # (k * n, 28), all R S
        ones = triangle.sum(1)
        self.bias = torch.from_numpy(np.outer(ones, ones).ravel()).to(device)  # (n * n,)

    @property
    def area(self) -> int:
        """Columns per channel."""
        return self.kernel_size**2

    def of(self, maps: Tensor) -> Tensor:
        """Maps (C, B, 28, 28) to columns (C * k * k, B, n * n), in the dtype of the maps.

        Columns are ordered like the weights of `nn.Conv2d`: channel, dy, dx.
        """
        taps = self.taps.to(maps.dtype)
        seen = (taps @ maps @ taps.T).unflatten(2, (self.kernel_size, self.size))
        seen = seen.unflatten(4, (self.kernel_size, self.size))  # (C, B, dy, y, dx, x)
        return seen.permute(0, 2, 4, 1, 3, 5).reshape(-1, maps.shape[1], self.size**2)


@dataclass
class Sums:
    """Sums over some images, float64."""

    gram: Tensor  # (c, c), products of the columns after the shift; see `Gram.mirror`
    maps: Tensor  # (C, 28, 28), of the features
    images: int = 0

    @classmethod
    def zeros(cls, channels: int, columns: Columns) -> Sums:
        """No images yet."""
        count, device = channels * columns.area, columns.taps.device
        gram = torch.zeros(count, count, dtype=torch.float64, device=device)
        return cls(gram, torch.zeros(channels, GRID, GRID, dtype=torch.float64, device=device))


@dataclass
class Gram:
    """Sums of two disjoint parts of the training images: to solve on, and to choose the ridge on.

    Every column is shifted by a multiple of the bias column, its mean over the first batch: that
    changes no solution but its bias, and takes the large means out of the float32 products.
    """

    levels: dict[str, int]  # level -> channels, in the order of the columns
    columns: Columns
    fit: Sums = field(init=False)
    heldout: Sums = field(init=False)
    level_of: Tensor = field(init=False)  # (c,) int64, each column's place among `levels`
    shift: Tensor | None = None  # (c,) float32, multiples of the bias column

    def __post_init__(self) -> None:
        self.fit = Sums.zeros(self.channels, self.columns)
        self.heldout = Sums.zeros(self.channels, self.columns)
        counts = np.array(list(self.levels.values())) * self.columns.area
        places = torch.from_numpy(np.repeat(np.arange(len(counts)), counts))
        self.level_of = places.to(self.columns.taps.device)

    @property
    def channels(self) -> int:
        """Of all levels together."""
        return sum(self.levels.values())

    def index(self, reads: tuple[str, ...]) -> Tensor | None:
        """Which columns are those of the levels `reads`, (c',) int64; None: all."""
        if set(reads) >= set(self.levels):
            return None
        places = [place for place, level in enumerate(self.levels) if level in reads]
        chosen = torch.isin(self.level_of, self.level_of.new_tensor(places))
        return chosen.nonzero()[:, 0]

    def add(self, features: Tensor, sums: Sums) -> None:
        """Add a batch, (C, B * 784) float32, to `sums`, one of the two parts."""
        maps = features.view(self.channels, -1, GRID, GRID)
        sums.images += maps.shape[1]
        bias = self.columns.bias.float()
        for part in maps.split(IMAGES_AT_ONCE, dim=1):
            sums.maps += part.sum(1)
            columns = self.columns.of(part)
            if self.shift is None:
                self.shift = (columns.mean(1) @ bias) / bias.square().sum()
            columns -= self.shift[:, None, None] * bias
            rows = columns.flatten(1)
            for start in range(0, len(rows), TILE):
                stop = min(start + TILE, len(rows))
                sums.gram[start:stop, :stop] += rows[start:stop] @ rows[:stop].T

    def mirror(self, *more: Sums) -> None:
        """Fill the tiles above the diagonal, which `add` leaves out, in both parts and in more."""
        for sums in (self.fit, self.heldout, *more):
            for start in range(TILE, len(sums.gram), TILE):
                stop = start + TILE
                sums.gram[:start, start:stop] = sums.gram[start:stop, :start].T


def gram_bytes(channels: int, kernel_size: int, probe_padding: int) -> int:
    """Memory to accumulate and solve: both parts, their sum, that scaled, its factor; a batch."""
    count = channels * kernel_size**2
    cells = (GRID + 2 * probe_padding - kernel_size + 1) ** 2
    return 5 * 8 * count**2 + 3 * 4 * count * IMAGES_AT_ONCE * cells


def gram_flops(channels: int, kernel_size: int, probe_padding: int) -> float:
    """Floating-point operations per image of the products, tiles on and below the diagonal."""
    count = channels * kernel_size**2
    cells = (GRID + 2 * probe_padding - kernel_size + 1) ** 2
    return float(cells * count * (count + min(TILE, count)))
