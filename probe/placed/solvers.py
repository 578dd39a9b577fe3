"""Two ways to read a class from vectors: ridge regression and softmax regression, both chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from probe.placed.directions import Directions, Floats
from probe.placed.lbfgs import minimise

RIDGES = tuple(10.0**exponent for exponent in range(-6, 1))  # times the number of images
DECAYS = tuple(10.0**exponent for exponent in range(-6, 0))  # of softmax regression
TIE = 1e-7  # share of the largest score, below which two scores are the same

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """Images along the directions of a training set, and what is to be read from them."""

    rows: Tensor  # (n, r) float64
    labels: Labels  # (n,)


@dataclass(frozen=True)
class Head:
    """A linear head along directions."""

    weights: Tensor  # (r, K)
    bias: Tensor  # (K,)

    def credit(self, part: Part) -> Floats:
        """How right each image is read, (n,): 1 or 0, and of k equal scores 1 / k.

        Where vectors hold no place all places score alike, and are read at chance exactly,
        whatever the last bits say.
        """
        scores = (part.rows @ self.weights + self.bias).numpy()
        tied = scores >= scores.max(1, keepdims=True) - TIE * abs(scores).max()
        right = tied[np.arange(len(scores)), part.labels]
        return np.asarray(right / tied.sum(1))


def fit_exact(directions: Directions, train: Part, heldout: Part, classes: int) -> Head:
    """Ridge regression on one-hot targets; its strength has the least squares on held-out images.

    Args:
        directions: of the training images.
        train: images to solve for.
        heldout: images of other patches, to choose on.
        classes: K.
    """
    target = functional.one_hot(torch.from_numpy(train.labels), classes).double()
    bias = target.mean(0)
    products = train.rows.T @ (target - bias) / len(train.labels)
    wanted = functional.one_hot(torch.from_numpy(heldout.labels), classes).double()
    tried = [products / (directions.squares + ridge)[:, None] for ridge in RIDGES]
    losses = [float((heldout.rows @ each + bias - wanted).square().mean()) for each in tried]
    return Head(tried[int(np.argmin(losses))], bias)


def fit_softmax(directions: Directions, train: Part, heldout: Part, classes: int) -> Head:
    """Softmax regression with weight decay, whose strength has the least loss on held-out images.

    All strengths are solved for at once, along the principal directions scaled by the bound on
    the curvature there (Bohning 1992: half the mean square, and the decay), in which they converge
    in a few dozen steps. Arguments as of `fit_exact`.
    """
    count = len(train.labels)
    rows = torch.cat([train.rows, torch.ones(count, 1).double()], 1).float()
    decays = torch.tensor(DECAYS)[:, None].repeat(1, rows.shape[1])
    decays[:, -1] = 0.0  # the bias is not penalised
    squares = torch.cat([directions.squares, directions.squares.new_ones(1)]).float()
    scale = (squares / 2 + decays).rsqrt()[..., None]  # (S, r + 1, 1)
    onehot = functional.one_hot(torch.from_numpy(train.labels), classes).float()

    def evaluate(tried: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        decay = decays[tried][..., None]
        weights = scale[tried] * points.view(len(tried), -1, classes)
        stacked = weights.transpose(0, 1).reshape(rows.shape[1], -1)
        logits = (rows @ stacked).view(count, len(tried), classes)
        logs = functional.log_softmax(logits, 2)
        penalty = (decay * weights.square()).sum((1, 2)) / 2
        losses = -(logs * onehot[:, None]).sum((0, 2)) / count + penalty
        slopes = (logs.exp() - onehot[:, None]).reshape(count, -1)
        gradient = (rows.T @ slopes / count).view(-1, len(tried), classes).transpose(0, 1)
        return losses, (scale[tried] * (gradient + decay * weights)).flatten(1)

    start = torch.zeros(len(DECAYS), rows.shape[1] * classes)
    weights = (scale * minimise(evaluate, start).view(len(DECAYS), -1, classes)).double()
    wanted = torch.from_numpy(heldout.labels)
    losses = [
        float(functional.cross_entropy(heldout.rows @ each[:-1] + each[-1], wanted))
        for each in weights
    ]
    best = weights[int(np.argmin(losses))]
    return Head(best[:-1], best[-1])


Solver = Callable[[Directions, Part, Part, int], Head]
SOLVERS: dict[str, Solver] = {"exact": fit_exact, "softmax": fit_softmax}
