"""Training from disk: time against its bounds, and memory against the size of the cache.

    python -m benchmarks.streaming [--images 3600] [--folder DIR]

Writes a made-up VGG16 cache of that many images (2.3 MB each), trains one epoch of the 38 heads of
tables 1, 2b, 3 and 4 from it with `--preload none`, and removes it.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.bank_speed import PAPER, RATE, bench_heads, seconds_products
from benchmarks.timing import VGG16, machine, make_cache
from data.tools.allocator import keep_freed
from data.tools.device import find_device
from probe.batches import FeatureBatches, epoch_windows
from probe.sgd.bank import Bank
from probe.sgd.checkpoint import Checkpoint
from probe.sgd.entry import Entry
from probe.sgd.fit import Split, fit
from probe.train import compute_dtype


def resident_mib() -> float:
    """The most memory this process ever had resident."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def seconds_raw_read(folder: Path) -> float:
    """Reading every shard's bytes in order, into one buffer."""
    buffer = bytearray(2**24)
    start = time.perf_counter()
    for path in sorted(folder.glob("shard-*.h5")):
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=3600)
    parser.add_argument("--folder", default=None)
    options = parser.parse_args()
    keep_freed()  # as train-probes does
    device = find_device("auto")
    dtype = compute_dtype("auto", device)
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        cache = make_cache(Path(temporary) / "cache", options.images)
        size = sum(path.stat().st_size for path in cache.folder.iterdir())
        recipe = replace(PAPER.training, epochs=1)
        bank = Bank([Entry(head, RATE) for head in bench_heads()], VGG16, recipe).to(device)
        source = FeatureBatches(cache, tuple(VGG16), dtype, device, "none")
        split = Split(cache.rows("train"), cache.rows("test"))
        checkpoint = Checkpoint(Path(temporary) / "checkpoint.pt", {})
        before = resident_mib()
        raw = min(seconds_raw_read(cache.folder) for _ in range(2))

        start = time.perf_counter()
        for _ in source.batches(epoch_windows(split.train, source.image_bytes, 32, 0, 0), 32):
            pass
        batches = time.perf_counter() - start
        start = time.perf_counter()
        fit(bank, source, split, checkpoint, "streaming")
        epoch = time.perf_counter() - start
        after = resident_mib()
        columns = torch.rand(sum(VGG16.values()), 32 * 784, device=device).to(dtype)
        products = seconds_products(bank, columns) / 32 * len(split.train)
    print(machine())
    print(f"cache: {options.images} images, {size / 2**30:.1f} GiB; page cache as it is")
    print(f"raw read {raw:.1f} s, batches alone {batches:.1f} s, bare products {products:.1f} s")
    print(f"one epoch {epoch:.1f} s, {epoch / max(raw, products):.2f} of the larger bound")
    print(f"share of the ceiling: {max(raw, products) / epoch:.2f}")
    print(f"resident memory: {after:.0f} MiB, {after - before:.0f} MiB above the imports")


if __name__ == "__main__":
    main()
