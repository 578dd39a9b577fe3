"""Decoded images in batches, made ahead of time by worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from data.errors import UserError
from data.images import ImageSet
from data.shards import shard_rows


@dataclass(frozen=True)
class Batch:
    """Neighbouring images, all of one shard."""

    rows: range
    images: Tensor  # (B, S, S, 3) uint8, RGB


class _Images(Dataset[Batch | str]):
    """Item i is the batch `rows[i]`, or the reason why one of its images could not be read."""

    def __init__(self, images: ImageSet, rows: Sequence[range]) -> None:
        self.images = images
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Batch | str:
        rows = self.rows[index]
        try:
            pixels = np.stack([self.images.load(row) for row in rows])
        except (UserError, OSError) as error:
            return str(error)  # an exception would cross the process border with its traceback
        return Batch(rows, torch.from_numpy(pixels))


def batch_rows(shards: Sequence[int], images: int, batch_size: int) -> list[range]:
    """The rows of each batch: no batch crosses the border of a shard.

    So a shard's features do not depend on which other shards are computed with it.
    """
    return [
        rows[start : start + batch_size]
        for rows in (shard_rows(shard, images) for shard in shards)
        for start in range(0, len(rows), batch_size)
    ]


def load_batches(
    images: ImageSet, rows: Sequence[range], *, num_workers: int, pin_memory: bool = False
) -> Iterator[Batch]:
    """Decode the batches in order, in `num_workers` processes (0: in this one).

    Raises `UserError` when an image can no longer be read.
    """
    loader: DataLoader[Batch | str] = DataLoader(
        _Images(images, rows),
        batch_size=None,
        num_workers=num_workers,
        prefetch_factor=4 if num_workers else None,
    )
    for batch in loader:
        if isinstance(batch, str):
            raise UserError(f"{batch}: the images changed since they were listed, run again")
        yield Batch(batch.rows, batch.images.pin_memory()) if pin_memory else batch
