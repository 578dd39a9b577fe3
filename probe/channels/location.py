"""The place of a patch, read from pooled vectors by ridge regression with some of the channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from probe.exact.ridge import CONSTANT_SHARE
from probe.placed.solvers import RIDGES

TIE = 1e-9  # share of the largest score, below which two scores are the same

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """Vectors (n, C) and their cells (n,), of some of the patches."""

    vectors: Floats
    cells: Labels

    @classmethod
    def of(cls, vectors: Floats) -> Part:
        """Of vectors (patches, cells, C)."""
        patches, cells, channels = vectors.shape
        return cls(vectors.reshape(-1, channels), np.tile(np.arange(cells), patches))


class LocationReadout:
    """A ridge head as the solver `exact` of placed studies has it, of any channels: see `Readout`.

    The columns are standardised once, so that a subset of their products serves each head. Of
    `ridges` the one with the least squares on the held-out patches is taken, for each head anew.
    """

    tasks = ("location",)

    def __init__(
        self,
        train: Part,
        heldout: Part,
        test: Part,
        *,
        fill: str,
        ridges: Sequence[float] = RIDGES,
    ) -> None:
        self._ridges = ridges
        columns = torch.from_numpy(train.vectors)
        self._mean = columns.mean(0)
        centred = columns - self._mean
        variance = centred.square().mean(0)
        alive = variance > CONSTANT_SHARE * columns.square().mean(0)
        self._scale = torch.where(alive, variance.rsqrt(), 0.0)
        standard = centred * self._scale
        self.channels = standard.shape[1]
        target = _one_hot(train, classes := int(train.cells.max()) + 1)
        self._bias = target.mean(0)
        self._gram = standard.T @ standard / len(standard)
        self._products = standard.T @ (target - self._bias) / len(standard)
        self._heldout, self._wanted = self._standardised(heldout), _one_hot(heldout, classes)
        self._test, self._cells = self._standardised(test), torch.from_numpy(test.cells)
        # A channel at its training mean is 0 once standardised.
        self._filled = -self._mean * self._scale if fill == "zero" else torch.zeros_like(self._mean)
        self._weights = self._solve(torch.arange(self.channels))

    def kept(self, removed: NDArray[np.int64]) -> Floats:
        """Accuracy (1,) on the test patches, the channels `removed` filled in."""
        test = self._test.clone()
        test[:, torch.from_numpy(removed)] = self._filled[torch.from_numpy(removed)]
        return self._accuracy(test @ self._weights)

    def solved(self, channels: NDArray[np.int64]) -> Floats:
        """Accuracy (1,) on the test patches of a head solved from `channels`."""
        index = torch.from_numpy(channels)
        return self._accuracy(self._test[:, index] @ self._solve(index))

    def _standardised(self, part: Part) -> Tensor:
        return (torch.from_numpy(part.vectors) - self._mean) * self._scale

    def _solve(self, index: Tensor) -> Tensor:
        """Weights (c, K), of the ridge with the least squares on the held-out patches."""
        gram, products = self._gram[index][:, index], self._products[index]
        heldout = self._heldout[:, index]
        identity = torch.eye(len(index), dtype=gram.dtype)
        tried = [
            torch.cholesky_solve(products, torch.linalg.cholesky(gram + ridge * identity))
            for ridge in self._ridges
        ]
        losses = [
            float((heldout @ weights + self._bias - self._wanted).square().mean())
            for weights in tried
        ]
        return tried[int(np.argmin(losses))]

    def _accuracy(self, scores: Tensor) -> Floats:
        # Of equal scores, but for rounding, the first counts: what does not hold the place is
        # read at chance exactly.
        scores = scores + self._bias
        good = scores >= scores.amax(1, keepdim=True) - TIE * scores.abs().amax()
        return np.array([float((good.long().argmax(1) == self._cells).double().mean())])


def _one_hot(part: Part, classes: int) -> Tensor:
    return functional.one_hot(torch.from_numpy(part.cells), classes).double()
