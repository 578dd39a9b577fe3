"""Batches of cached features, in the bank's layout, shuffled, from memory or from disk.

Order of an epoch: the training rows are cut into runs of `RUN` neighbours, the runs are shuffled,
consecutive runs form windows of at most `WINDOW_BYTES`, and the rows of each window are shuffled.
A cache smaller than one window is thus shuffled fully. The order depends on the cache, the seed
and the epoch alone: not on where the features are kept, nor on which heads are trained.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.cache.reader import FeatureCache
from data.machine.memory import free_memory
from data.vocabulary import GRID

RUN = 8  # neighbouring rows read at once
WINDOW_BYTES = 384 * 2**20  # features shuffled together; two windows are in memory at a time
CELLS = GRID * GRID
FLOAT16_BYTES = 2


def epoch_windows(
    rows: NDArray[np.int64], image_bytes: int, batch_size: int, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """The rows of one epoch in training order, one array per window.

    Windows hold a multiple of `batch_size` rows, the last one what is left.
    """
    generator = np.random.default_rng([seed, epoch])
    runs = [rows[start : start + RUN] for start in range(0, len(rows), RUN)]
    order = np.concatenate([runs[index] for index in generator.permutation(len(runs))])
    batches = max(1, WINDOW_BYTES // (image_bytes * batch_size))
    size = batches * batch_size
    return [
        generator.permutation(order[start : start + size]) for start in range(0, len(order), size)
    ]


def plain_windows(rows: NDArray[np.int64], image_bytes: int) -> list[NDArray[np.int64]]:
    """`rows` in their own order, one array per window."""
    size = max(1, WINDOW_BYTES // image_bytes)
    return [rows[start : start + size] for start in range(0, len(rows), size)]


@dataclass
class FeatureBatches:
    """The features of some levels of a cache, as batches (C, B * 784) in the compute dtype."""

    cache: FeatureCache
    levels: tuple[str, ...]  # in the order of the cache
    dtype: torch.dtype
    device: torch.device
    preload: str  # "none", "ram" or "gpu"

    def __post_init__(self) -> None:
        self.channels = {level: self.cache.levels[level] for level in self.levels}
        self.image_bytes = sum(self.cache.levels.values()) * CELLS * FLOAT16_BYTES
        self._kept: dict[int, Tensor] = {}

    def keep(self, rows: NDArray[np.int64]) -> None:
        """Load `rows` into memory for good, unless preloading is off."""
        missing = np.array([row for row in rows.tolist() if row not in self._kept], dtype=np.int64)
        if self.preload == "none" or not len(missing):
            return
        keeper = self.device if self.preload == "gpu" else torch.device("cpu")
        step = max(1, WINDOW_BYTES // self.image_bytes)
        for start in range(0, len(missing), step):
            part = missing[start : start + step]
            for row, image in zip(part.tolist(), self._read(part), strict=True):
                self._kept[row] = image.to(keeper, self.dtype, copy=True)

    def batches(
        self, windows: list[NDArray[np.int64]], batch_size: int
    ) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """Rows and features, batch by batch; the next window is read while one is used."""
        if not windows:
            return
        with ThreadPoolExecutor(1) as reader:
            ahead = reader.submit(self._load, windows[0])
            for index, window in enumerate(windows):
                images = ahead.result()
                if index + 1 < len(windows):
                    ahead = reader.submit(self._load, windows[index + 1])
                for start in range(0, len(window), batch_size):
                    part = window[start : start + batch_size]
                    yield part, self._columns([images[row] for row in part.tolist()])
                del images

    def _load(self, window: NDArray[np.int64]) -> dict[int, Tensor]:
        if self._kept.keys() >= set(window.tolist()):
            return self._kept
        return dict(zip(window.tolist(), self._read(window), strict=True))

    def _read(self, rows: NDArray[np.int64]) -> Tensor:
        """Float16 features of each row, (len(rows), C, 784)."""
        features = torch.empty(len(rows), sum(self.channels.values()), CELLS, dtype=torch.float16)
        array, start = features.numpy().reshape(len(rows), -1, GRID, GRID), 0
        for level, channels in self.channels.items():
            self.cache.read(level, rows, out=array[:, start : start + channels])
            start += channels
        return features

    def _columns(self, images: list[Tensor]) -> Tensor:
        columns = torch.empty(
            len(images[0]), len(images), CELLS, dtype=self.dtype, device=self.device
        )
        # By way of float32 on the CPU: torch's direct float16 to bfloat16 is several times slower.
        scratch = torch.empty(images[0].shape) if self._is_slow(images[0]) else None
        for index, image in enumerate(images):
            source = image if scratch is None else scratch.copy_(image)
            columns[:, index].copy_(source, non_blocking=True)
        return columns.flatten(1)

    def _is_slow(self, image: Tensor) -> bool:
        half_to_bfloat16 = image.dtype == torch.float16 and self.dtype == torch.bfloat16
        return half_to_bfloat16 and self.device.type == "cpu"


def resolve_preload(
    choice: str, needed_bytes: int, device: torch.device, *, sharing: int = 1
) -> str:
    """`auto`: the GPU, else memory, if the features fit in half of what is free; else the disk.

    `sharing` processes take from what is free.
    """
    if choice != "auto":
        return choice
    room = 2 * sharing * needed_bytes
    if device.type == "cuda" and room < torch.cuda.mem_get_info(device)[0]:
        return "gpu"
    return "ram" if room < free_memory() else "none"
