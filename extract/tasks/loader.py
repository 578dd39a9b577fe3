"""Batches of images and masks, decoded by worker processes and put on the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from extract.tasks.pairs import PairSet


class Batches:
    """The pairs `order` of a set, `batch_size` at a time; iterate as often as you like.

    Yields images (B, 3, S, S) float32 in [0, 1], channels last in memory, and masks (B, S, S)
    int64, on the device.
    """

    def __init__(
        self,
        pairs: PairSet,
        order: Sequence[int] | NDArray[np.int64],
        *,
        size: int,
        batch_size: int,
        num_workers: int,
        device: torch.device,
    ) -> None:
        self.order = [int(index) for index in order]
        self._device = device
        self._loader = DataLoader(
            _Pairs(pairs, size),
            batch_size=batch_size,
            sampler=self.order,
            num_workers=num_workers,
            pin_memory=device.type == "cuda",
        )

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for images, masks in self._loader:
            on_device = images.to(self._device, non_blocking=True).permute(0, 3, 1, 2)
            yield on_device.float() / 255, masks.to(self._device, non_blocking=True).long()


class _Pairs(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, pairs: PairSet, size: int) -> None:
        self._pairs = pairs
        self._size = size

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, mask = self._pairs.load(index, self._size)
        return torch.from_numpy(image), torch.from_numpy(mask)
