"""Batches of images and masks, decoded by worker processes and put on the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from data.tools.errors import UserError
from extract.tasks.maps.pairs.sets import PairSet


class Batches:
    """The pairs `order` of a set, `batch_size` at a time; iterate as often as you like.

    Yields images (B, 3, S, S) float32 in [0, 1], channels last in memory, and masks (B, S, S)
    int64, on the device. Raises `UserError` for files that have changed or are gone, and where the
    worker processes have too little memory.
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
            collate_fn=_together,
        )

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for images, masks in _explained(self._loader):
            on_device = images.to(self._device, non_blocking=True).permute(0, 3, 1, 2)
            yield on_device.float() / 255, masks.to(self._device, non_blocking=True).long()


def _explained(loader: DataLoader[Any]) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of a loader, with errors that say what to do."""
    try:
        for batch in loader:
            if isinstance(batch, UserError):
                raise batch
            yield batch
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        if any(word in str(error) for word in ("shared memory", "Bus error", "shm", "/torch_")):
            raise UserError(
                f"too little shared memory (/dev/shm) for the worker processes ({reason}): start "
                "the container with --shm-size=2g, or give --num-workers 0"
            ) from error
        if "DataLoader worker" in reason:
            raise UserError(
                f"a worker process ended ({reason}): give fewer --num-workers, or 0, if memory is "
                "short"
            ) from error
        raise


class _Pairs(Dataset["tuple[Tensor, Tensor] | UserError"]):
    def __init__(self, pairs: PairSet, size: int) -> None:
        self._pairs = pairs
        self._size = size

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor] | UserError:
        # An error raised in a worker would arrive with the worker's traceback for a message.
        try:
            image, mask = self._pairs.load(index, self._size)
        except UserError as error:
            return error
        return torch.from_numpy(image), torch.from_numpy(mask)


def _together(items: list[tuple[Tensor, Tensor] | UserError]) -> Any:
    return next((i for i in items if isinstance(i, UserError)), None) or default_collate(items)
