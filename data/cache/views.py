"""Parts of a feature cache as sequences: a level, and a level of one image set for PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

if TYPE_CHECKING:
    from data.cache.reader import FeatureCache


class LevelDataset(Dataset[Any]):
    """One level of one image set: items are (C, 28, 28) float16 tensors.

    Holds no open file, so the worker processes of a `DataLoader` read it.
    """

    def __init__(self, cache: FeatureCache, level: str, rows: NDArray[np.int64]) -> None:
        self._cache, self._level, self._rows = cache, level, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self._cache.read(self._level, [self._rows[index]])[0])

    def __getitems__(self, indices: list[int]) -> list[torch.Tensor]:
        """A whole batch, read at once."""
        return list(torch.from_numpy(self._cache.read(self._level, self._rows[indices])))
