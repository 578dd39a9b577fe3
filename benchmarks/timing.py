"""Timing, and made-up VGG16-shaped caches, for the benchmarks."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from data.cache.identity import Identity
from data.cache.reader import FeatureCache
from data.images.source import ImageRecord
from data.vocabulary import GRID
from tests.caches import write_cache

VGG16 = {"input": 3, "f1": 64, "f2": 128, "f3": 256, "f4": 512, "f5": 512}


def median_seconds(work: Callable[[], object], repeats: int = 5, warm_up: int = 1) -> float:
    """The median wall time of `work`; waits for the GPU, if one is used."""
    return statistics.median(_seconds(work, repeats, warm_up))


def least_seconds(work: Callable[[], object], repeats: int = 5, warm_up: int = 1) -> float:
    """The least wall time of `work`, for ceilings: others on the machine only ever add to it."""
    return min(_seconds(work, repeats, warm_up))


def _seconds(work: Callable[[], object], repeats: int, warm_up: int) -> list[float]:
    times = []
    for turn in range(warm_up + repeats):
        start = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        if turn >= warm_up:
            times.append(time.perf_counter() - start)
    return times


def machine() -> str:
    """What the figures were measured on."""
    names = [line for line in _cpuinfo() if line.startswith("model name")]
    processor = names[0].split(":")[1].strip() if names else platform.machine()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{processor}, {torch.get_num_threads()} threads, {gpu}, torch {torch.__version__}"


def make_cache(
    folder: Path, train: int, test: int = 32, levels: Mapping[str, int] = VGG16
) -> FeatureCache:
    """A cache of made-up features, channels by level: the numbers mean nothing, the bytes do."""
    records = [
        ImageRecord(f"{images}-{index}", images, f"{images}{index}")
        for images, count in (("train", train), ("test", test))
        for index in range(count)
    ]
    identity = Identity(
        backbone="vgg16",
        weights="made-up",
        padding="zeros",
        precision="fp32",
        sources={"train": "made up", "test": "made up"},
    )
    generator = np.random.default_rng(0)
    arrays = {}
    for level, channels in levels.items():
        few = generator.random((16, channels, GRID, GRID), dtype=np.float32).astype(np.float16)
        arrays[level] = _Repeated(few, len(records))
    return write_cache(folder, identity, records, arrays)  # type: ignore[arg-type]


class _Repeated:
    """A few images over and over: as much of an array as `write_cache` needs."""

    def __init__(self, few: np.ndarray, count: int) -> None:
        self.few, self.shape = few, (count, *few.shape[1:])

    def __getitem__(self, rows: slice) -> np.ndarray:
        return self.few[np.arange(rows.start, rows.stop) % len(self.few)]


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
