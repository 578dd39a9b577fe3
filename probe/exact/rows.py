"""Targets that differ by image: what of the normal equations they change."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from data.vocabulary import GRID
from probe.exact.gram import Gram, Sums
from probe.exact.ridge import Equations, Solution, choose_ridge, solve_with


@dataclass
class RowTargets:
    """Products of the shifted columns of some images with targets of their own, float64.

    Of heads whose loss is at the resolution of their outputs (`Columns` without a resolution).
    """

    products: Tensor  # (c, H)
    bias: Tensor  # (H,), products with the bias column
    square: Tensor  # (H,)

    @classmethod
    def zeros(cls, gram: Gram, heads: int) -> RowTargets:
        """No images yet."""
        count = gram.channels * gram.columns.area
        products = torch.zeros(count, heads, dtype=torch.float64, device=gram.columns.taps.device)
        return cls(products, products.new_zeros(heads), products.new_zeros(heads))

    def add(self, gram: Gram, features: Tensor, targets: Tensor) -> None:
        """Take in features (C, B * 784) float32 that `gram` took in, and targets (B, H, n, n)."""
        columns = gram.columns.of(features.view(gram.channels, -1, GRID, GRID))
        assert gram.shift is not None
        bias = gram.columns.bias
        assert bool((bias == 1).all()), "the loss is not at the resolution of the outputs"
        columns = columns.double() - gram.shift.double()[:, None, None] * bias
        wanted = targets.flatten(2).double()  # (B, H, n * n)
        self.products += torch.einsum("cbp,bhp->ch", columns, wanted)
        self.bias += (wanted @ bias).sum(0)
        self.square += wanted.square().sum((0, 2))

    def __add__(self, other: RowTargets) -> RowTargets:
        return RowTargets(
            self.products + other.products, self.bias + other.bias, self.square + other.square
        )


def row_equations(gram: Gram, parts: list[Sums], targets: RowTargets) -> Equations:
    """The equations over the images of `parts`, whose targets are `targets`."""
    columns, shift = gram.columns, gram.shift
    assert shift is not None
    images = sum(part.images for part in parts)
    sums = columns.of(torch.stack([part.maps for part in parts]).sum(0)[:, None])[:, 0]
    bias = columns.bias
    return Equations(
        torch.stack([part.gram for part in parts]).sum(0),
        sums @ bias - images * shift.double() * bias.square().sum(),
        targets.products,
        targets.bias,
        targets.square,
        torch.zeros_like(targets.bias),
        images,
        columns.size**2,
        shift.double(),
        gram.level_of,
        bias,
    )


def solve_rows(gram: Gram, fit: RowTargets, heldout: RowTargets) -> Solution:
    """As `probe.exact.ridge.solve`, of targets that differ by image."""
    ridge, best = choose_ridge(
        row_equations(gram, [gram.fit], fit), row_equations(gram, [gram.heldout], heldout)
    )
    whole = row_equations(gram, [gram.fit, gram.heldout], fit + heldout)
    return solve_with(whole, ridge, best, gram.columns.kernel_size)
