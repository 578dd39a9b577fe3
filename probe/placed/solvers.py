"""Two ways to read a class from vectors: ridge regression and softmax regression, both chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from probe.placed.lbfgs import minimise

RIDGES = tuple(10.0**exponent for exponent in range(-6, 1))  # times the number of images
DECAYS = tuple(10.0**exponent for exponent in range(-6, 0))  # of softmax regression
DEAD = 1e-12  # share of a column's square in its variance, below which it says nothing
NEGLIGIBLE = 1e-10  # share of the variance, below which a direction is left out

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Head:
    """A linear head on standardised columns."""

    mean: Tensor  # (C,), of the training images
    scale: Tensor  # (C,), 1 / standard deviation; 0 of columns that are constant
    weights: Tensor  # (C, K)
    bias: Tensor  # (K,)

    def scores(self, vectors: Floats) -> Tensor:
        """(n, K) of vectors (n, C)."""
        columns = (torch.from_numpy(vectors) - self.mean) * self.scale
        return columns @ self.weights + self.bias

    def hits(self, vectors: Floats, labels: Labels) -> NDArray[np.bool_]:
        """Which of the vectors are read right, (n,); the first of equal scores counts."""
        return np.asarray(self.scores(vectors).argmax(1).numpy() == labels)


@dataclass(frozen=True)
class _Directions:
    """Training images along the principal directions of their standardised columns."""

    mean: Tensor
    scale: Tensor
    axes: Tensor  # (C, r)
    squares: Tensor  # (r,), mean square along each
    rows: Tensor  # (n, r)

    @classmethod
    def of(cls, vectors: Floats) -> _Directions:
        columns = torch.from_numpy(vectors)
        mean = columns.mean(0)
        centred = columns - mean
        variance = centred.square().mean(0)
        alive = variance > DEAD * columns.square().mean(0)
        scale = torch.where(alive, variance.rsqrt(), 0.0)
        standard = centred * scale
        squares, axes = torch.linalg.eigh(standard.T @ standard / len(standard))
        kept = squares > NEGLIGIBLE * squares.sum().clamp(min=1e-300)
        return cls(mean, scale, axes[:, kept], squares[kept], standard @ axes[:, kept])

    def of_others(self, vectors: Floats) -> Tensor:
        return ((torch.from_numpy(vectors) - self.mean) * self.scale) @ self.axes

    def head(self, weights: Tensor, bias: Tensor) -> Head:
        return Head(self.mean, self.scale, self.axes @ weights, bias)


def fit_exact(
    vectors: Floats, labels: Labels, heldout: Floats, heldout_labels: Labels, classes: int
) -> Head:
    """Ridge regression on one-hot targets; its strength has the least squares on held-out images.

    Args:
        vectors, labels: (n, C) and (n,), to train on.
        heldout, heldout_labels: of other patches, to choose on.
        classes: K.
    """
    directions = _Directions.of(vectors)
    target = functional.one_hot(torch.from_numpy(labels), classes).double()
    bias = target.mean(0)
    products = directions.rows.T @ (target - bias) / len(labels)
    wanted = functional.one_hot(torch.from_numpy(heldout_labels), classes).double()
    seen = directions.of_others(heldout)
    tried = [products / (directions.squares + ridge)[:, None] for ridge in RIDGES]
    losses = [float((seen @ weights + bias - wanted).square().mean()) for weights in tried]
    return directions.head(tried[int(np.argmin(losses))], bias)


def fit_softmax(
    vectors: Floats, labels: Labels, heldout: Floats, heldout_labels: Labels, classes: int
) -> Head:
    """Softmax regression with weight decay, whose strength has the least loss on held-out images.

    All strengths are solved for at once, along the principal directions scaled by the bound on
    the curvature there (Bohning 1992: half the mean square, and the decay), in which they converge
    in a few dozen steps. Arguments as of `fit_exact`.
    """
    directions = _Directions.of(vectors)
    rows = torch.cat([directions.rows, torch.ones(len(labels), 1).double()], 1).float()
    target = torch.from_numpy(labels)
    decays = torch.tensor(DECAYS)[:, None].repeat(1, rows.shape[1])
    decays[:, -1] = 0.0  # the bias is not penalised
    squares = torch.cat([directions.squares, directions.squares.new_ones(1)]).float()
    scale = (squares / 2 + decays).rsqrt()[..., None]  # (S, r + 1, 1)
    onehot = functional.one_hot(target, classes).float()

    def evaluate(points: Tensor) -> tuple[Tensor, Tensor]:
        weights = scale * points.view(len(DECAYS), -1, classes)
        stacked = weights.transpose(0, 1).reshape(rows.shape[1], -1)
        logits = (rows @ stacked).view(len(rows), len(DECAYS), classes)
        logs = functional.log_softmax(logits, 2)
        penalty = (decays[..., None] * weights.square()).sum((1, 2)) / 2
        losses = -(logs * onehot[:, None]).sum((0, 2)) / len(rows) + penalty
        slopes = (logs.exp() - onehot[:, None]).reshape(len(rows), -1)
        gradient = (rows.T @ slopes / len(rows)).view(-1, len(DECAYS), classes).transpose(0, 1)
        return losses, (scale * (gradient + decays[..., None] * weights)).flatten(1)

    start = torch.zeros(len(DECAYS), rows.shape[1] * classes)
    weights = (scale * minimise(evaluate, start).view(len(DECAYS), -1, classes)).double()
    seen = torch.cat([directions.of_others(heldout), torch.ones(len(heldout), 1).double()], 1)
    wanted = torch.from_numpy(heldout_labels)
    losses = [float(functional.cross_entropy(seen @ candidate, wanted)) for candidate in weights]
    best = weights[int(np.argmin(losses))]
    return directions.head(best[:-1], best[-1])


Solver = Callable[[Floats, Labels, Floats, Labels, int], Head]
SOLVERS: dict[str, Solver] = {"exact": fit_exact, "softmax": fit_softmax}
