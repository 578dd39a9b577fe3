"""What a pass will cost, before it starts."""

from __future__ import annotations

import copy
import functools
import time

import torch

from data.protocols import TrainingRecipe
from probe.batches import CELLS, FLOAT16_BYTES, FeatureBatches
from probe.sgd.bank import Bank
from probe.sgd.schedule import Schedule

DISK_BYTES_PER_SECOND = 1e9  # a warm page cache or a fast disk; slower disks take longer


def estimate(
    bank: Bank,
    batches: FeatureBatches,
    train_images: int,
    other_images: int,
    recipe: TrainingRecipe,
) -> str:
    """One line: heads, images, epochs, bytes to read, floating-point operations, expected time.

    The time is that of a step on made-up features, tried on a copy of the bank, times the steps.
    """
    image_bytes = sum(batches.channels.values()) * CELLS * FLOAT16_BYTES
    schedule = Schedule.of(recipe, train_images)
    epochs = schedule.total / schedule.per_epoch
    passes = epochs if batches.preload == "none" else 1
    read_bytes = (train_images + other_images) * image_bytes * passes
    # Forward and weight gradient while training, forward alone while judging: half the work.
    flops = bank.flops() * epochs * (2 * train_images + other_images)
    images = epochs * (train_images + other_images / 2)
    size = min(recipe.batch_size, train_images)
    seconds = _step_seconds(bank, batches, size) * images / size
    return (
        f"{len(bank.entries)} heads, {train_images} training images, {schedule.epochs} epochs: "
        f"{scaled(read_bytes)}B to read (preload {batches.preload}), {scaled(flops)}FLOP, "
        f"about {clock(seconds + read_bytes / DISK_BYTES_PER_SECOND)}"
    )


def _step_seconds(bank: Bank, batches: FeatureBatches, size: int) -> float:
    trial = copy.deepcopy(bank)
    channels = sum(batches.channels.values())
    features = torch.rand(channels, size * CELLS, device=batches.device).to(batches.dtype)
    for _ in range(2):  # the first one warms up
        start = time.perf_counter()
        trial.losses(trial(features)).sum().backward()
        if batches.device.type == "cuda":
            torch.cuda.synchronize(batches.device)
    return time.perf_counter() - start


@functools.cache
def flops_per_second(dtype: torch.dtype, device: torch.device, size: int = 1024) -> float:
    """Measured speed of matrix products."""
    matrix = torch.ones(size, size, dtype=dtype, device=device)
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        (matrix @ matrix).sum().item()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def scaled(number: float) -> str:
    """Three digits and a decimal prefix: 1.4 G."""
    for unit in ("", "k", "M", "G", "T"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} P"


def clock(seconds: float) -> str:
    """A duration in the unit a reader would use."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} HOURS (fewer heads, epochs or images would take less)"
