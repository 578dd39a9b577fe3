"""How training grows with heads, channels and images, and where it is no longer linear.

    python -m benchmarks.growth [--device auto] [--batch-size 32] [--folder DIR]
                                [--figure growth.png]

Made-up features of one level. Heads and channels: the time of a step on features in memory, one
size varied, the other held at 30 heads (kernel sizes 1, 3, 5 in turn) and 512 channels. Images: the
time of an epoch of the 30 heads from a cache on disk, 64 channels (100 KB an image; 10 GB below DIR
for the largest, removed afterwards). Prints every time, its ratio to proportional growth from the
line before, and the share that large products of as much work would take of it; draws them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from matplotlib.figure import Figure

from benchmarks.bank_speed import PAPER, RATE, seconds_bank
from benchmarks.ceilings import matrix_rate
from benchmarks.timing import machine, make_cache
from data.tools.device import find_device
from data.vocabulary import GRID
from probe.batches import FeatureBatches
from probe.heads.spec import HeadSpec
from probe.sgd.bank import Bank
from probe.sgd.checkpoint import Checkpoint
from probe.sgd.entry import Entry
from probe.sgd.fit import Split, fit
from probe.train import compute_dtype

LEVEL = "f1"
HEADS, CHANNELS = 30, 512  # where they do not vary
CHANNELS_ON_DISK = 64


@dataclass(frozen=True)
class Growth:
    """What is timed against one size."""

    name: str
    timed: str
    sizes: tuple[int, ...]
    point: Callable[[int], Point]


@dataclass(frozen=True)
class Point:
    """One size, the seconds that it takes, and the operations of its products."""

    size: int
    seconds: float
    flops: int


def make_bank(heads: int, channels: int, device: torch.device) -> Bank:
    """A bank of heads of kernel sizes 1, 3, 5 in turn on one level; one epoch."""
    specs = [
        HeadSpec((LEVEL,), (1, 3, 5)[number % 3], 1, 0, "H", seed=number) for number in range(heads)
    ]
    recipe = replace(PAPER.training, epochs=1)
    return Bank([Entry(spec, RATE) for spec in specs], {LEVEL: channels}, recipe).to(device)


def products(bank: Bank, images: int) -> int:
    """Operations of one step or epoch: features are read by two products, forward and gradient."""
    return 2 * bank.flops() * images


def time_step(size: int, bank: Bank, batch: int, device: torch.device) -> Point:
    """The median time of one step of a bank."""
    columns = torch.rand(bank.rows[LEVEL].stop, batch * GRID * GRID, device=device)
    seconds = seconds_bank(bank, columns.to(compute_dtype("auto", device)))
    return Point(size, seconds, products(bank, batch))


def time_epoch(images: int, folder: Path | None, device: torch.device) -> Point:
    """The time of one epoch from a cache just written, read in windows."""
    levels = {LEVEL: CHANNELS_ON_DISK}
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        cache = make_cache(Path(temporary) / "cache", images, levels=levels)
        dtype = compute_dtype("auto", device)
        source = FeatureBatches(cache, tuple(levels), dtype, device, "none")
        checkpoint = Checkpoint(Path(temporary) / "checkpoint.pt", {})
        bank = make_bank(HEADS, CHANNELS_ON_DISK, device)
        start = time.perf_counter()
        fit(bank, source, Split(cache.rows("train"), cache.rows("test")), checkpoint, "growth")
        return Point(images, time.perf_counter() - start, products(bank, images))


def growths(batch: int, folder: Path | None, device: torch.device) -> list[Growth]:
    return [
        Growth(
            "heads",
            "a step",
            (1, 3, 10, 30, 100, 300),
            lambda size: time_step(size, make_bank(size, CHANNELS, device), batch, device),
        ),
        Growth(
            "channels",
            "a step",
            (64, 256, 1024, 4096, 8192),
            lambda size: time_step(size, make_bank(HEADS, size, device), batch, device),
        ),
        Growth(
            "images",
            "an epoch",
            (1_000, 3_000, 10_000, 30_000, 100_000),
            lambda size: time_epoch(size, folder, device),
        ),
    ]


def measure(growth: Growth, rate: float) -> list[Point]:
    """Every size in turn; prints each as it is known. `rate`: FLOP/s of large products."""
    points: list[Point] = []
    for size in growth.sizes:
        point = growth.point(size)
        before = points[-1] if points else point
        points.append(point)
        print(
            f"{growth.name} {size}: {point.seconds * 1e3:.1f} ms {growth.timed}, "
            f"{point.seconds * before.size / (before.seconds * size):.2f} of proportional growth, "
            f"share of the ceiling {point.flops / rate / point.seconds:.2f}",
            flush=True,
        )
    return points


def draw(found: list[tuple[Growth, list[Point]]]) -> Figure:
    """Seconds over each size, both logarithmic; dashed: proportional to the size."""
    figure = Figure(figsize=(9, 3), layout="constrained")
    for axes, (growth, points) in zip(figure.subplots(1, len(found)), found, strict=True):
        sizes = [point.size for point in points]
        axes.loglog(sizes, [point.seconds for point in points], marker="o")
        last = points[-1]
        axes.loglog(sizes, [last.seconds * size / last.size for size in sizes], "--", color="grey")
        axes.set(xlabel=growth.name, ylabel=f"seconds {growth.timed}")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--folder", type=Path, default=None, help="where the caches are made")
    parser.add_argument("--figure", type=Path, default=None, help="where to draw it")
    options = parser.parse_args()
    device = find_device(options.device)
    print(machine())
    kinds = growths(options.batch_size, options.folder, device)
    rate = matrix_rate(device, compute_dtype("auto", device))
    found = [(growth, measure(growth, rate)) for growth in kinds]
    if options.figure is not None:
        draw(found).savefig(options.figure)


if __name__ == "__main__":
    main()
