"""Training pairs of which some are seen in a mirror: the commonest augmentation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from extract.tasks.maps.pairs.scenes import Scene
from extract.tasks.maps.pairs.sets import PairSet

MIRROR_STREAM = 1  # of the coins, beside that of the order of the images


@dataclass(frozen=True)
class MirroredPairs:
    """`pairs`, those with `chosen` (one bool each) mirrored left-right, image and mask alike."""

    pairs: PairSet
    chosen: NDArray[np.bool_]

    @property
    def name(self) -> str:
        """Of the pairs as they are."""
        return self.pairs.name

    @property
    def classes(self) -> tuple[str, ...]:
        """Of the pairs as they are."""
        return self.pairs.classes

    @property
    def sha256(self) -> str:
        """Of the pairs as they are."""
        return self.pairs.sha256

    def __len__(self) -> int:
        return len(self.pairs)

    def load(self, index: int, size: int) -> Scene:
        """Pair `index`, image and mask."""
        image, mask = self.pairs.load(index, size)
        if not self.chosen[index]:
            return image, mask
        return image[:, ::-1].copy(), mask[:, ::-1].copy()


def mirrored(pairs: PairSet, seed: int, epoch: int) -> MirroredPairs:
    """Each pair of the set mirrored or not, as a coin of the seed and the epoch falls."""
    coins = np.random.default_rng([seed, epoch, MIRROR_STREAM])
    return MirroredPairs(pairs, coins.random(len(pairs)) < 0.5)
