"""Ridge regression from normal equations, for many targets, in float64."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from data.tools.errors import UserError
from probe.exact.gram import Columns, Gram, Sums
from probe.loss import reduced_targets

# Relative to the mean variance of a level's columns (docs/methods.md says why not to each one's).
STRENGTHS = tuple(10.0**exponent for exponent in range(-7, 1))
CONSTANT_SHARE = 1e-12  # a column with less of its square in its variance carries no information


@dataclass(frozen=True)
class Targets:
    """Targets in low resolution, one per head (probe.loss.reduced_targets), float64."""

    maps: Tensor  # (n * n, H)
    unreachable: Tensor  # (H,), squared parts of the targets that no head reaches
    pixels: int  # of the loss's resolution

    @classmethod
    def of(cls, maps: NDArray[np.float64], columns: Columns) -> Targets:
        """From targets (H, s, s) at the loss's resolution."""
        _, reachable, unreachable = reduced_targets(maps, columns.size)
        device = columns.taps.device
        return cls(
            torch.from_numpy(reachable.reshape(len(maps), -1).T.copy()).to(device),
            torch.from_numpy(unreachable).to(device),
            maps.shape[-1] ** 2,
        )


@dataclass(frozen=True)
class Readouts:
    """Weights of linear heads over the shifted columns of a `Gram`."""

    weights: Tensor  # (c, H)
    bias: Tensor  # (H,)


@dataclass(frozen=True)
class Equations:
    """Least squares of shifted columns over some images: everything a loss or solution needs."""

    gram: Tensor  # (c, c)
    bias_products: Tensor  # (c,), of the columns with the bias column
    target_products: Tensor  # (c, H)
    bias_target: Tensor  # (H,), products of the bias column with the targets
    target_square: Tensor  # (H,), squared norms of the targets, as far as a head can reach them
    unreachable: Tensor  # (H,), the rest of them, per image
    images: int
    pixels: int  # of the loss's resolution
    shift: Tensor  # (c,)
    level_of: Tensor  # (c,) int64, columns of one level have one number
    bias: Tensor  # (n * n,), the bias column of one image

    @property
    def bias_square(self) -> Tensor:
        """Squared norm of the bias column over the images."""
        return self.images * self.bias.square().sum()

    def losses(self, readouts: Readouts) -> Tensor:
        """Mean squared errors per image and pixel at the loss's resolution, (H,)."""
        weights, bias = readouts.weights, readouts.bias
        square = (weights * (self.gram @ weights)).sum(0)
        square += 2 * bias * (self.bias_products @ weights) + bias.square() * self.bias_square
        cross = (self.target_products * weights).sum(0) + bias * self.bias_target
        residual = (square - 2 * cross + self.target_square) / self.images
        return (residual + self.unreachable) / self.pixels

    def path(self, strengths: Iterable[float]) -> Iterator[tuple[float, Readouts]]:
        """The strength used and the solution for every ridge strength asked for.

        The strength multiplies the mean variance of the columns of each column's level; the bias
        is not penalised. Where rounding has left the equations unsolvable the strength is raised
        tenfold until they are not.
        """
        matrix = self.gram.clone()
        matrix.addr_(self.bias_products, self.bias_products / -self.bias_square)
        variance = matrix.diagonal().clone()
        square = self.gram.diagonal() + self.shift.square() * self.bias_square
        alive = variance > CONSTANT_SHARE * square
        scale = torch.where(alive, self._level_means(variance.clamp(min=0)).rsqrt(), 0.0)
        matrix.mul_(scale[:, None]).mul_(scale)
        diagonal = matrix.diagonal().clone()
        mean_target = self.bias_target / self.bias_square
        centred = self.target_products - self.bias_products[:, None] * mean_target
        for asked in strengths:
            strength, factor = _factor(matrix, diagonal, asked)
            weights = scale[:, None] * torch.cholesky_solve(scale[:, None] * centred, factor)
            bias = mean_target - (self.bias_products @ weights) / self.bias_square
            yield strength, Readouts(weights, bias)

    def _level_means(self, values: Tensor) -> Tensor:
        """For every column the mean of `values` (c,) over the columns of its level."""
        members = functional.one_hot(self.level_of).to(values.dtype)  # (c, levels)
        return ((values @ members) / members.sum(0).clamp(min=1))[self.level_of]


def _factor(matrix: Tensor, diagonal: Tensor, strength: float) -> tuple[float, Tensor]:
    """Cholesky factor of a matrix whose diagonal is raised by the first strength that allows it.

    `matrix` is overwritten on its diagonal, whose own values are `diagonal`, (c,).
    """
    while np.isfinite(strength):
        matrix.diagonal().copy_(diagonal + strength)  # of dead columns too: their weights are zero
        factor, failed = torch.linalg.cholesky_ex(matrix)
        if not failed:
            return strength, factor
        strength *= 10.0
    raise UserError("the equations have no solution: a feature is not finite")


def equations(gram: Gram, parts: list[Sums], targets: Targets, index: Tensor | None) -> Equations:
    """The equations over the images of `parts`, of the columns `index` (None: all).

    The matrix is the Gram's own where that is possible: it is not to be changed.
    """
    columns, shift, level_of = gram.columns, gram.shift, gram.level_of
    assert shift is not None
    images = sum(part.images for part in parts)
    maps = torch.stack([part.maps for part in parts]).sum(0)  # (C, 28, 28)
    matrix = _total([part.gram for part in parts], index)
    sums = columns.of(maps[:, None])[:, 0]  # (c, n * n)
    shift = shift.double()
    if index is not None:
        sums, shift, level_of = sums[index], shift[index], level_of[index]
    bias = columns.bias
    return Equations(
        matrix,
        sums @ bias - images * shift * bias.square().sum(),
        sums @ targets.maps - images * shift[:, None] * (bias @ targets.maps),
        images * (bias @ targets.maps),
        images * targets.maps.square().sum(0),
        targets.unreachable,
        images,
        targets.pixels,
        shift,
        level_of,
        bias,
    )


def _total(grams: list[Tensor], index: Tensor | None) -> Tensor:
    parts = grams if index is None else [gram[index][:, index] for gram in grams]
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


@dataclass(frozen=True)
class Solution:
    """The heads of one shape and set of levels, solved."""

    kernels: Tensor  # (H, channels, k, k) float64
    biases: Tensor  # (H,)
    ridge: Tensor  # (H,), the strength chosen for each
    train_loss: Tensor  # (H,), on all training images


def solve(gram: Gram, targets: Targets, index: Tensor | None = None) -> Solution:
    """Choose each head's ridge on the held-out part, then solve on all images with it."""
    fit = equations(gram, [gram.fit], targets, index)
    heldout = equations(gram, [gram.heldout], targets, index)
    ridge, best = choose_ridge(fit, heldout)
    del fit, heldout
    whole = equations(gram, [gram.fit, gram.heldout], targets, index)
    return solve_with(whole, ridge, best, gram.columns.kernel_size)


def solve_with(whole: Equations, ridge: Tensor, best: Tensor, kernel_size: int) -> Solution:
    """The solution of each head with its own ridge, as `choose_ridge` gives them."""
    weights, bias = torch.zeros_like(whole.target_products), torch.zeros_like(best)
    chosen = ridge.clone()
    asked = chosen.unique().tolist()
    for wanted, (strength, readouts) in zip(asked, whole.path(asked), strict=True):
        heads = chosen == wanted
        ridge[heads] = strength
        weights[:, heads], bias[heads] = readouts.weights[:, heads], readouts.bias[heads]
    losses = whole.losses(Readouts(weights, bias))
    kernels = weights.T.unflatten(1, (-1, kernel_size, kernel_size))
    return Solution(kernels, bias - whole.shift @ weights, ridge, losses)


def choose_ridge(fit: Equations, heldout: Equations) -> tuple[Tensor, Tensor]:
    """For every head the strength with the lowest held-out loss, and that loss, (H,) each."""
    tried = [(strength, heldout.losses(readouts)) for strength, readouts in fit.path(STRENGTHS)]
    losses = torch.stack([loss for _, loss in tried]).nan_to_num(nan=torch.inf)  # (strengths, H)
    best, place = losses.min(0)
    strengths = torch.tensor([strength for strength, _ in tried], dtype=losses.dtype)
    return strengths.to(losses.device)[place], best
