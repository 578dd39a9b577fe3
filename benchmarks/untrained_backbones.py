"""Position in untrained backbones of a dozen families, level by level.

    python -m benchmarks.untrained_backbones --train DIR --test DIR [--folder untrained_backbones]

Random weights of seed 0. Extracts every backbone below, three of them with another padding too,
solves the linear readouts of every level and of all together (1 x 1, with their control task), and
compares them by relative depth. What is finished is not done again. About 7 GB for 300 images.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from analysis.config import TablesConfig
from analysis.make import make_tables
from benchmarks.timing import machine
from data.vocabulary import LEVELS
from extract.config import ExtractConfig
from extract.run import extract_features
from probe.config import ProbeConfig
from probe.train import train_probes

BACKBONES = {
    "alexnet": ("zeros",),
    "vgg16": ("zeros", "none"),
    "resnet18": ("zeros",),
    "resnet50": ("zeros", "reflect"),
    "densenet121": ("zeros",),
    "googlenet": ("zeros",),
    "mobilenet_v2": ("zeros",),
    "efficientnet_b0": ("zeros",),
    "regnet_y_400mf": ("zeros",),
    "shufflenet_v2_x1_0": ("zeros",),
    "convnext_tiny": ("zeros", "reflect"),
    "swin_t": ("zeros",),
    "vit_b_16": ("zeros",),
    "maxvit_t": ("zeros",),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("untrained_backbones"))
    options = parser.parse_args()
    print(machine())
    features, results = options.folder / "features", options.folder / "results"
    start = time.perf_counter()
    for backbone, paddings in BACKBONES.items():
        for padding in paddings:
            extract_features(
                ExtractConfig(
                    backbone,
                    weights="random",
                    padding=padding,
                    train=options.train,
                    test=options.test,
                    cache_dir=features,
                )
            )
    print(f"extraction: {(time.perf_counter() - start) / 60:.1f} min", flush=True)
    start = time.perf_counter()
    train_probes(
        ProbeConfig(
            cache_dir=features,
            results_dir=results,
            solver="exact",
            kernel_size=(1,),
            levels=(*LEVELS, "all"),
        )
    )
    print(f"readouts: {(time.perf_counter() - start) / 60:.1f} min", flush=True)
    make_tables(TablesConfig(results_dir=results, out=options.folder / "tables", compare=True))


if __name__ == "__main__":
    main()
