"""Reading shuffled batches from a cache, over reading the same bytes raw; page cache warm.

    python -m benchmarks.cache_read [--images 512] [--batch-size 32] [--folder DIR]

Writes a made-up VGG16 cache (2.3 MB an image) and removes it. Batches are drawn as in training:
runs of neighbours are shuffled into windows of 512 MB, the rows of a window are shuffled. Every
level of every batch is read into the same arrays. The raw reads go through the files in order into
a buffer as large as a batch, and into one of 16 MB, which a processor's cache may hold.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.ceilings import read_rate
from benchmarks.timing import machine, make_cache, median_seconds
from data.cache.reader import FeatureCache
from data.vocabulary import GRID
from probe.batches import epoch_windows


def read_raw(folder: Path, buffer: bytearray) -> None:
    """Every byte of every shard, in order."""
    for path in sorted(folder.glob("shard-*.h5")):
        with open(path, "rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def read_batches(
    cache: FeatureCache, batches: list[np.ndarray], arrays: dict[str, np.ndarray]
) -> None:
    """Every level of every batch, into arrays that are used again."""
    for rows in batches:
        for level, array in arrays.items():
            cache.read(level, rows, array[: len(rows)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--folder", type=Path, default=None)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as scratch:
        cache = make_cache(Path(scratch) / "cache", arguments.images, test=0)
        rows = np.arange(arguments.images)
        image_bytes = cache.size // arguments.images
        windows = epoch_windows(rows, image_bytes, arguments.batch_size, seed=0, epoch=0)
        batches = [
            window[start : start + arguments.batch_size]
            for window in windows
            for start in range(0, len(window), arguments.batch_size)
        ]
        arrays = {
            level: np.empty((arguments.batch_size, channels, GRID, GRID), np.float16)
            for level, channels in cache.levels.items()
        }
        shuffled = median_seconds(lambda: read_batches(cache, batches, arrays), repeats=9)
        print(machine())
        print(f"batches, every level: {cache.size / shuffled / 1e9:.2f} GB/s")
        for size in (sum(array.nbytes for array in arrays.values()), 2**24):
            buffer = bytearray(size)
            raw = median_seconds(lambda: read_raw(cache.folder, buffer), repeats=9)  # noqa: B023
            print(
                f"raw, buffer of {size / 1e6:.0f} MB: {cache.size / raw / 1e9:.2f} GB/s; "
                f"batches over it: {raw / shuffled:.2f}"
            )
        rate = read_rate(arguments.folder)
        print(f"share of the ceiling, one file read raw: {cache.size / shuffled / rate:.2f}")


if __name__ == "__main__":
    main()
