"""What the ridge is relative to: a level's mean variance, as in the solver, or each column's own.

python -m benchmarks.ridge_scale CACHE [--level f3] [--kernel-size 3] [--pattern H]

Leaves every eighth training image out in turn, solves on the others at every strength, and prints
the loss on the images left out over the variance of the target: the mean and the worst part.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.timing import machine
from data.cache.reader import FeatureCache
from data.targets import PATTERNS, position_map
from data.vocabulary import IMAGE_SIZE
from probe.batches import FeatureBatches, plain_windows
from probe.exact.gram import Columns, Gram
from probe.exact.ridge import STRENGTHS, Targets, equations

PARTS = 8
BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--level", default="f3")
    parser.add_argument("--kernel-size", type=int, default=3)
    parser.add_argument("--pattern", choices=PATTERNS, default="H")
    options = parser.parse_args()
    cache, device = FeatureCache(options.cache), torch.device("cpu")
    batches = FeatureBatches(cache, (options.level,), torch.float32, device, "none")
    columns = Columns(options.kernel_size, 0, IMAGE_SIZE, device)
    target = position_map(options.pattern)
    targets = Targets.of(target[None], columns)
    rows = cache.rows("train")
    losses: dict[str, list[list[float]]] = {"level": [], "column": []}
    for part in range(PARTS):
        gram = Gram(dict(batches.channels), columns)
        left_out = np.arange(len(rows)) % PARTS == part
        for chosen, sums in ((rows[~left_out], gram.fit), (rows[left_out], gram.heldout)):
            for _, features in batches.batches(plain_windows(chosen, batches.image_bytes), BATCH):
                gram.add(features, sums)
        gram.mirror()
        fit = equations(gram, [gram.fit], targets, None)
        heldout = equations(gram, [gram.heldout], targets, None)
        # A column that is a level of its own is penalised relative to its own variance.
        alone = replace(fit, level_of=torch.arange(len(fit.level_of)))
        for name, each in (("level", fit), ("column", alone)):
            path = [heldout.losses(readouts).item() for _, readouts in each.path(STRENGTHS)]
            losses[name].append([loss / target.var() for loss in path])
    print(machine())
    print(f"{options.pattern} from {options.level}, kernel size {options.kernel_size}")
    for name, parts in losses.items():
        for strength, loss in zip(STRENGTHS, np.array(parts).T, strict=True):
            print(f"{name} {strength:.0e}: mean {loss.mean():.3f}, worst part {loss.max():.3f}")


if __name__ == "__main__":
    main()
