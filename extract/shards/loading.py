"""Decoded images in batches, made ahead of time by threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from data.cache.shards import shard_rows
from data.images.image_set import ImageSet
from data.vocabulary import GRID

BATCHES_AHEAD = 4


@dataclass(frozen=True)
class Batch:
    """Neighbouring images, all of one shard."""

    rows: range
    images: Tensor  # (B, S, S, 3) uint8, RGB
    inputs: Tensor | None = None  # (B, 28, 28, 3) uint8, the images themselves at this size


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
    images: ImageSet,
    parts: Sequence[range],
    *,
    num_workers: int,
    pin_memory: bool = False,
    with_inputs: bool = False,
) -> Iterator[Batch]:
    """Decode the batches in order, a few ahead of the one in use; `with_inputs`, at 28x28 too.

    Threads, not processes: decoding and resizing release the interpreter's lock, and processes
    could not be started inside the workers of a cluster. Raises `UserError` when an image can no
    longer be read.
    """
    pool = ThreadPoolExecutor(num_workers)
    ahead: deque[tuple[Batch, list[Future[None]]]] = deque()
    small = images.resized(GRID) if with_inputs else None

    def begin(found: ImageSet, rows: range) -> tuple[Tensor, list[Future[None]]]:
        shape = (len(rows), found.image_size, found.image_size, 3)
        pixels = torch.empty(shape, dtype=torch.uint8, pin_memory=pin_memory)
        return pixels, [pool.submit(_load, found, row, pixels[i]) for i, row in enumerate(rows)]

    def start(rows: range) -> None:
        pixels, futures = begin(images, rows)
        inputs, more = begin(small, rows) if small else (None, [])
        ahead.append((Batch(rows, pixels, inputs), futures + more))

    try:
        for rows in parts[:BATCHES_AHEAD]:
            start(rows)
        for number in range(len(parts)):
            batch, futures = ahead.popleft()
            for future in futures:
                future.result()
            if number + BATCHES_AHEAD < len(parts):
                start(parts[number + BATCHES_AHEAD])
            yield batch
    finally:
        pool.shutdown(cancel_futures=True)


def _load(images: ImageSet, row: int, pixels: Tensor) -> None:
    pixels.numpy()[:] = images.load(row)
