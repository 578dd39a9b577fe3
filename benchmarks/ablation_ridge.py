"""Readouts of the place without their foremost channels, by the strength of their ridge.

    python -m benchmarks.ablation_ridge [--cache-dir features] [--level f5]

Of every pooled cache (extract-features --placed grid), mean-pooled, channels ranked by eta squared.
Each line: the strength, times the number of images, or `chosen` on held-out patches as
train-probes --channels does; then for each number of channels the accuracy in percent with them at
their training mean and the head kept, with as many random ones (mean of ten draws), and solved
again without them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from data.cache.pooled.reader import PooledCache, find_pooled
from data.channels.spread import Places, Spread, place_scores
from data.images.placed.placement import HELD_OUT, TEST, TRAIN
from probe.channels.ablation import KEPT, RESOLVED, ablations
from probe.channels.location import LocationReadout, Part
from probe.placed.readings import without_rounding
from probe.placed.solvers import RIDGES

COUNTS = (0, 50, 100, 200, 300, 500)


def measure(cache: PooledCache, level: str) -> None:
    """Print the lines of one cache."""
    identity = cache.identity
    vectors = without_rounding(cache.read(level, "mean"))
    split = cache.labels("split").reshape(vectors.shape[:2])[:, 0]
    places = Places(identity.cells, identity.grid)
    ranking = np.argsort(-place_scores(Spread.of(vectors[split != TEST]), places)["eta"])
    parts = [Part.of(vectors[split == part]) for part in (TRAIN, HELD_OUT, TEST)]
    counts = tuple(count for count in COUNTS if count < vectors.shape[2])
    print(f"{cache.folder.name}, {(split == TEST).sum()} test patches, without {counts} channels")
    for name, ridges in {
        "chosen": RIDGES,
        **{f"{ridge:.0e}": (ridge,) for ridge in RIDGES},
    }.items():
        readout = LocationReadout(*parts, fill="mean", ridges=ridges)
        found = {(one.head, one.ablated): one for one in ablations(readout, ranking, counts, 0)}
        kept = [found[KEPT, count] for count in counts]
        again = [found[RESOLVED if count else KEPT, count] for count in counts]
        print(
            f"  {name:>6}",
            *(
                f"{100 * a.value:.1f}/{100 * a.random:.1f}/{100 * b.value:.1f}"
                for a, b in zip(kept, again, strict=True)
            ),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache-dir", type=Path, default=Path("features"))
    parser.add_argument("--level", default="f5")
    options = parser.parse_args()
    for cache in find_pooled(options.cache_dir):
        measure(cache, options.level)


if __name__ == "__main__":
    main()
