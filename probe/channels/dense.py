"""Position maps read from an aligned cache with some of the channels, without reading it again.

The Gram matrix of a 1x1 head holds that of any subset of its channels: a head without the top
channels, or of them alone, is solved from its rows and columns, and scored on the Gram matrix of
the test images, whose loss it gives exactly.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.cache.reader import FeatureCache
from data.channels.spread import Floats, Moments, Places
from data.protocols import TrainingRecipe
from data.targets import PATTERNS
from data.vocabulary import GRID
from probe.batches import CELLS, FeatureBatches, plain_windows
from probe.exact.gram import Columns, Gram, Sums
from probe.exact.ridge import Readouts, Targets, equations, solve
from probe.loss import scored_target
from probe.sgd.fit import split_rows

BATCH = 32  # images read at once
HELDOUT = 8  # as of `probe.exact.solve`: every so many training images one chooses the ridge
MAP_PLACES = Places([divmod(cell, GRID) for cell in range(CELLS)], GRID)


class MapReadout:
    """1x1 heads of one level of an aligned cache, solved by ridge regression: see `Readout`.

    The score is the variance explained (R2) on the test images.
    """

    tasks = PATTERNS

    def __init__(
        self,
        cache: FeatureCache,
        level: str,
        recipe: TrainingRecipe,
        *,
        fill: str,
        device: torch.device,
    ) -> None:
        self.channels = cache.levels[level]
        columns = Columns(1, 0, recipe.resolution, device)
        self._gram = Gram({level: self.channels}, columns)
        self._test = Sums.zeros(self.channels, columns)
        moments = Moments(self.channels, CELLS)
        batches = FeatureBatches(cache, (level,), torch.float32, device, "none")
        train, test = cache.rows("train"), cache.rows("test")
        split = split_rows(train, test, 1 / HELDOUT)
        parts = ((split.train, self._gram.fit), (split.heldout, self._gram.heldout))
        for rows, sums in (*parts, (test, self._test)):
            for _, features in batches.batches(plain_windows(rows, batches.image_bytes), BATCH):
                self._gram.add(features, sums)
                if sums is not self._test:
                    maps = features.unflatten(1, (-1, CELLS)).transpose(0, 1)  # (B, C, cells)
                    moments.add(maps.double().cpu().numpy())
        self._gram.mirror(self._test)
        self.spread = moments.spread
        maps = np.stack([scored_target(pattern, columns.size, recipe) for pattern in PATTERNS])
        self._targets = Targets.of(maps, columns)
        self._variance = maps.var((1, 2))
        mean = self.spread.means.mean(0)
        self._filled = torch.from_numpy(mean if fill == "mean" else np.zeros_like(mean)).to(device)
        self._whole = self._solved(None)

    def kept(self, removed: NDArray[np.int64]) -> Floats:
        """R2 of every pattern, (5,), of the head of all channels, those `removed` filled in."""
        index = torch.from_numpy(removed)
        weights = self._whole.weights.clone()
        shift = self._gram.shift
        assert shift is not None
        constant = self._filled[index] - shift.double()[index]
        bias = self._whole.bias + constant @ weights[index]
        weights[index] = 0.0
        return self._explained(Readouts(weights, bias), None)

    def solved(self, channels: NDArray[np.int64]) -> Floats:
        """R2 of every pattern, (5,), of a head solved from `channels`."""
        index = torch.from_numpy(channels)
        return self._explained(self._solved(index), index)

    def _solved(self, index: Tensor | None) -> Readouts:
        """A solution over the shifted columns."""
        found = solve(self._gram, self._targets, index)
        weights = found.kernels.flatten(1).T
        shift = self._gram.shift
        assert shift is not None
        shift = shift.double() if index is None else shift.double()[index]
        return Readouts(weights, found.biases + shift @ weights)

    def _explained(self, readouts: Readouts, index: Tensor | None) -> Floats:
        test = equations(self._gram, [self._test], self._targets, index)
        return 1.0 - test.losses(readouts).cpu().numpy() / self._variance
