"""What a pass will cost, before it starts."""

from __future__ import annotations

import time

import torch

from probe.bank import Bank
from probe.batches import CELLS, FLOAT16_BYTES, FeatureBatches

DISK_BYTES_PER_SECOND = 1e9  # a warm page cache or a fast disk; slower disks take longer
OVER_PRODUCTS = 1.6  # a step takes this many times its large products, measured (benchmarks/)


def estimate(
    bank: Bank, batches: FeatureBatches, train_images: int, other_images: int, epochs: int
) -> str:
    """One line: heads, images, epochs, bytes to read, floating-point operations, expected time."""
    image_bytes = sum(batches.channels.values()) * CELLS * FLOAT16_BYTES
    passes = epochs if batches.preload == "none" else 1
    read_bytes = (train_images + other_images) * image_bytes * passes
    # Forward and weight gradient while training, forward alone while judging.
    flops = bank.flops() * epochs * (2 * train_images + other_images)
    seconds = (
        OVER_PRODUCTS * flops / _flops_per_second(batches) + read_bytes / DISK_BYTES_PER_SECOND
    )
    return (
        f"{len(bank.entries)} heads, {train_images} training images, {epochs} epochs: "
        f"{_scaled(read_bytes)}B to read (preload {batches.preload}), {_scaled(flops)}FLOP, "
        f"about {_clock(seconds)}"
    )


def _flops_per_second(batches: FeatureBatches, size: int = 1024) -> float:
    matrix = torch.ones(size, size, dtype=batches.dtype, device=batches.device)
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        (matrix @ matrix).sum().item()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def _scaled(number: float) -> str:
    for unit in ("", "k", "M", "G", "T"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} P"


def _clock(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} HOURS (fewer heads, epochs or images would take less)"
