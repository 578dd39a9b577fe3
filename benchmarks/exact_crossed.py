"""Exact readouts beside those trained by SGD on every image of some folders, each held out once.

    python -m benchmarks.exact_crossed --images DIR [--images DIR ...] [--folder exact_crossed]

The images are dealt out into five parts; each in turn is the test set of an untrained VGG16's
readouts (1x1 and 3x3; every level and all together; five patterns) that `tuned --linear` trains and
`--solver exact` solves on the other four. What is finished is not done again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from benchmarks.exact_heldout import compare, image_losses
from benchmarks.timing import machine
from data.cache.reader import FeatureCache
from data.vocabulary import LEVELS
from extract.config import ExtractConfig
from extract.run import extract_features
from probe.config import ProbeConfig
from probe.train import train_probes

PARTS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, action="append", required=True)
    parser.add_argument("--folder", type=Path, default=Path("exact_crossed"))
    options = parser.parse_args()
    print(machine())
    images = sorted(path.resolve() for folder in options.images for path in folder.iterdir())
    parts = [_part(images, part, options.folder / f"part-{part}") for part in range(PARTS)]
    compare({name: pd.concat([part[name] for part in parts], axis=1) for name in parts[0]})


def _part(images: list[Path], part: int, folder: Path) -> dict[str, pd.DataFrame]:
    """The losses on every fifth image of readouts trained and solved on the others."""
    for index, image in enumerate(images):
        link = folder / ("test" if index % PARTS == part else "train") / image.name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(image)
    cache = extract_features(
        ExtractConfig(
            "vgg16",
            weights="random",
            train=folder / "train",
            test=folder / "test",
            cache_dir=folder / "features",
        )
    )
    for solver in ("sgd", "exact"):
        train_probes(
            ProbeConfig(
                cache_dir=folder / "features",
                results_dir=folder / "results",
                solver=solver,
                protocol="tuned" if solver == "sgd" else None,
                linear=solver == "sgd",
                kernel_size=(1, 3),
                levels=(*LEVELS[1:], "all"),
            )
        )
    return image_losses(FeatureCache(cache), folder / "results")


if __name__ == "__main__":
    main()
