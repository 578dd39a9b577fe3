"""How a step of training grows with heads and channels, and where it is no longer linear.

    python -m benchmarks.growth [--device auto] [--batch-size 32] [--figure growth.png]

Made-up features of one level. One size is varied, the other held at 30 heads (kernel sizes 1, 3, 5
in turn) and 512 channels. Prints the milliseconds of a step, and their ratio to proportional growth
from the line before; draws them.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib.figure import Figure

from benchmarks.bank_speed import PAPER, RATE, seconds_bank
from benchmarks.timing import machine
from data.tools.device import find_device
from data.vocabulary import GRID
from probe.heads.spec import HeadSpec
from probe.sgd.bank import Bank
from probe.sgd.entry import Entry
from probe.train import compute_dtype

HEADS = (1, 3, 10, 30, 100, 300)
CHANNELS = (64, 256, 1024, 4096, 8192)
USUAL = {"heads": 30, "channels": 512}
VARIED = {"heads": HEADS, "channels": CHANNELS}


@dataclass(frozen=True)
class Point:
    """One size of a bank, and the seconds of a step of it."""

    size: int
    seconds: float


def step_seconds(heads: int, channels: int, *, batch: int, device: torch.device) -> float:
    """The median time of one step of a bank."""
    specs = [
        HeadSpec(("f1",), (1, 3, 5)[number % 3], 1, 0, "H", seed=number) for number in range(heads)
    ]
    bank = Bank([Entry(spec, RATE) for spec in specs], {"f1": channels}, PAPER.training).to(device)
    columns = torch.rand(channels, batch * GRID * GRID, device=device)
    return seconds_bank(bank, columns.to(compute_dtype("auto", device)))


def measure(batch: int, device: torch.device) -> dict[str, list[Point]]:
    """Every varied size, with the other as usual."""
    return {
        name: [
            Point(size, step_seconds(**{**USUAL, name: size}, batch=batch, device=device))
            for size in sizes
        ]
        for name, sizes in VARIED.items()
    }


def draw(found: dict[str, list[Point]]) -> Figure:
    """Seconds of a step over each size, both logarithmic; dashed: proportional to the size."""
    figure = Figure(figsize=(7, 3), layout="constrained")
    for axes, (name, points) in zip(figure.subplots(1, len(found)), found.items(), strict=True):
        sizes = [point.size for point in points]
        axes.loglog(sizes, [point.seconds for point in points], marker="o")
        last = points[-1]
        axes.loglog(sizes, [last.seconds * size / last.size for size in sizes], "--", color="grey")
        axes.set(xlabel=name, ylabel="seconds a step")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--figure", type=Path, default=None, help="where to draw it")
    options = parser.parse_args()
    print(machine())
    found = measure(options.batch_size, find_device(options.device))
    for name, points in found.items():
        before = points[0]
        for point in points:
            expected = before.seconds * point.size / before.size
            print(
                f"{name} {point.size}: {point.seconds * 1e3:.1f} ms a step, "
                f"{point.seconds / expected:.2f} of proportional growth"
            )
            before = point
    if options.figure is not None:
        draw(found).savefig(options.figure)


if __name__ == "__main__":
    main()
