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

BATCHES_AHEAD = 4


@dataclass(frozen=True)
class Batch:
    """Neighbouring images, all of one shard."""

    rows: range
    images: Tensor  # (B, S, S, 3) uint8, RGB


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
    images: ImageSet, parts: Sequence[range], *, num_workers: int, pin_memory: bool = False
) -> Iterator[Batch]:
    """Decode the batches in order, a few ahead of the one in use.

    Threads, not processes: decoding and resizing release the interpreter's lock, and processes
    could not be started inside the workers of a cluster. Raises `UserError` when an image can no
    longer be read.
    """
    pool = ThreadPoolExecutor(num_workers)
    ahead: deque[tuple[Batch, list[Future[None]]]] = deque()

    def start(rows: range) -> None:
        shape = (len(rows), images.image_size, images.image_size, 3)
        batch = Batch(rows, torch.empty(shape, dtype=torch.uint8, pin_memory=pin_memory))
        ahead.append((batch, [pool.submit(_load, images, batch, i) for i in range(len(rows))]))

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


def _load(images: ImageSet, batch: Batch, index: int) -> None:
    batch.images.numpy()[index] = images.load(batch.rows[index])
