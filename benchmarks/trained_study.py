"""The study of docs/trained.md: trained networks beside untrained ones, and the mirror effect.

    python -m benchmarks.trained_study [STEP ...] [--photos DIR] [--folder trained_study]

STEP is one or several of these, in this order; without any, all:

    features   both trained networks with every padding, both untrained ones with zeros
    exact      exact readouts of all of them: 1x1 from each level and all, 3x3 from each level
    paper      the sweep's 3x3 readouts of one layer in the paper's number of steps
    mirrors    features of test images and their mirror images, and how symmetric they are
    tasks      the same VGG16 trained on generated scenes with and without mirrored images
    summary    everything measured, as tables

DIR has folders `train` and `test`; without it the embedded samples stand in. What is finished is
not done again. It needs the two packages of `extract-features --list-weights`.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn

from analysis.config import TablesConfig
from analysis.make import make_tables
from analysis.read.measured import measure
from analysis.read.results import read_results
from analysis.tables.cells import number
from analysis.tables.contrast import contrast, contrast_patterns
from benchmarks.task_backbones import IMAGES, LEVELS, checkpoint, interval
from benchmarks.timing import machine
from data.cache.names import safe_name
from data.cache.reader import FeatureCache
from data.images.mirrors import MIRRORS, mirrored_sets
from data.intervals import bootstrap_intervals
from data.targets import position_map
from data.vocabulary import CONTINUED, IMAGE_SIZE, TAPPED_LEVELS
from extract.backbones.backbone import load_backbone, wrap_module
from extract.config import ExtractConfig
from extract.run import extract_features
from extract.tasks.maps.config import MapConfig
from extract.tasks.maps.pairs.scenes import CLASSES
from extract.tasks.maps.pairs.sets import GENERATED_TRAIN, GeneratedPairs
from extract.tasks.train import train_backbone
from probe.config import ProbeConfig
from probe.exact.mirror import (
    PARTS,
    asymmetry,
    neighbourhood_share,
    position_shares,
    read_mirrored,
)
from probe.results import SCORES, read_head
from probe.scoring import score_maps
from probe.train import load_head, train_probes

VGG, EFFICIENTNET = "vgg16", "timm:tf_efficientnet_lite0"
TRAINED = {VGG: "hed", EFFICIENTNET: "efficientnet-lite0"}
PADDINGS = ("zeros", "none", *CONTINUED)
UNDEFINED = {(EFFICIENTNET, "none")}  # it adds branches, whose sizes would differ
IN_STEPS = (
    *((VGG, "hed", "zeros"), (VGG, "hed", "none"), (VGG, "random", "zeros")),
    (EFFICIENTNET, TRAINED[EFFICIENTNET], "zeros"),
)
STEPS = 4940  # the paper's: 15 epochs of 10,533 images in batches of 32
ODD = {"left-right": "H", "up-down": "V"}  # mirror -> the pattern that it turns round
TASK_SIZE = 64  # pixels a side: VGG16's f4 has 8 x 8 values
TASK_IMAGES = 96  # that readouts of the task networks are solved on, and scored on


def main() -> None:
    steps = {
        "features": features,
        "exact": exact,
        "paper": paper,
        "mirrors": mirrors,
        "tasks": tasks,
        "summary": summary,
    }
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("steps", nargs="*", metavar="STEP")
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--folder", type=Path, default=Path("trained_study"))
    parser.add_argument("--backbones", nargs="+", default=tuple(TRAINED), choices=tuple(TRAINED))
    parser.add_argument("--paddings", nargs="+", default=PADDINGS)
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    options = parser.parse_args()
    if set(options.steps) - set(steps):
        parser.error(f"a step is one of {', '.join(steps)}")
    print(machine())
    for name in options.steps or steps:
        steps[name](options)


def features(options: argparse.Namespace) -> None:
    for backbone in options.backbones:
        defined = [name for name in options.paddings if (backbone, name) not in UNDEFINED]
        for weights, paddings in ((TRAINED[backbone], defined), ("random", ["zeros"])):
            for padding in paddings:
                config = ExtractConfig(
                    backbone,
                    weights=weights,
                    padding=padding,
                    cache_dir=options.folder / "features",
                )
                extract_features(config, images=photographs(options))


def photographs(options: argparse.Namespace) -> dict[str, Any]:
    """Image set -> folder, or nothing: then the embedded samples are meant."""
    return {name: options.photos and options.photos / name for name in ("train", "test")}


def exact(options: argparse.Namespace) -> None:
    for kernel_size, levels in ((1, (*TAPPED_LEVELS, "all")), (3, TAPPED_LEVELS)):
        for backbone in options.backbones:
            train_probes(
                ProbeConfig(
                    backbone=(backbone,),
                    cache_dir=options.folder / "features",
                    results_dir=options.folder / "results",
                    solver="exact",
                    kernel_size=(kernel_size,),
                    levels=levels,
                )
            )


def paper(options: argparse.Namespace) -> None:
    for backbone, weights, padding in IN_STEPS:
        if backbone not in options.backbones:
            continue
        name = safe_name(f"{backbone}-{weights}-{padding}")
        train_probes(
            ProbeConfig(
                sweep=True,
                cache_dir=options.folder / "features" / name,
                results_dir=options.folder / "results",
                kernel_size=(3,),
                depth=(1,),
                probe_padding=(0,),
                batch_size=8,
                steps=STEPS,
            )
        )


def mirrors(options: argparse.Namespace) -> None:
    """Shares and scores of every zero-padded network, in mirrors.csv and turned.csv."""
    shares, scores = [], []
    for backbone in options.backbones:
        for weights in (TRAINED[backbone], "random"):
            config = ExtractConfig(
                backbone, weights=weights, cache_dir=options.folder / "mirrored", limit=64
            )
            cache = FeatureCache(extract_features(config, images=mirrored(options)))
            shares += symmetry(cache, options.folder / "results")
            scores += turned(cache, options.folder / "results")
    shares += symmetry(FeatureCache(aligned(options)), options.folder / "results")
    write(options.folder / "mirrors.csv", shares)
    write(options.folder / "turned.csv", scores)


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Rows of some networks, beside those of others that an earlier call has left."""
    table = pd.DataFrame(rows)
    if path.exists():
        before = pd.read_csv(path)
        table = pd.concat([before[~before["weights"].isin(table["weights"])], table])
    table.to_csv(path, index=False)


def mirrored(options: argparse.Namespace) -> dict[str, Any]:
    given = photographs(options)
    return {"train": given["train"], **mirrored_sets(given["test"])}


def aligned(options: argparse.Namespace) -> Path:
    """The trained EfficientNet with kernels made symmetric: only its strides know a side."""
    backbone = load_backbone(
        EFFICIENTNET, weights=TRAINED[EFFICIENTNET], padding="zeros", taps="paper", seed=0
    )
    for layer in backbone.module.modules():
        if isinstance(layer, nn.Conv2d):
            half = (layer.weight + layer.weight.flip(-1)) / 2
            layer.weight.copy_((half + half.flip(-2)) / 2)
    taps = tuple(backbone.taps.values())
    own = wrap_module(backbone.module, name="efficientnet", taps=taps, weights="symmetric")
    config = ExtractConfig("efficientnet", cache_dir=options.folder / "mirrored", limit=64)
    return extract_features(config, own, mirrored(options))


def symmetry(cache: FeatureCache, results: Path) -> list[dict[str, Any]]:
    """Every measure of `probe.exact.mirror` by level, with intervals over images.

    What neighbourhoods tell is left out where the 3x3 readouts were not solved.
    """
    rows: list[dict[str, Any]] = []
    run = f"{cache.folder.name}-exact"
    scores = pd.read_csv(results / SCORES)
    solved = set(zip(scores["run"], scores["head"], strict=True))

    def add(level: str, measure: str, values: np.ndarray) -> None:
        (low, high) = bootstrap_intervals(values[:, None])[0]
        found = {"measure": measure, "value": values.mean(), "low": low, "high": high}
        rows.append({**network_of(cache), "level": level, **found, "n_images": len(values)})

    for level in TAPPED_LEVELS:
        maps = read_mirrored(cache, level)
        for part, values in zip(PARTS, position_shares(maps).T, strict=True):
            add(level, f"position: {part}", values)
        for mirror, pattern in ODD.items():
            add(level, f"asymmetry {mirror}", asymmetry(maps, mirror))
            name = f"{pattern}-{level}-k3-d1-p0-s0"
            if (run, name) not in solved:
                continue
            kernel = read_head(results, run, name)[2]["0.weight"][0]
            target = position_map(pattern, maps.shape[-1] - 2)
            values = neighbourhood_share(maps, kernel, target, mirror)
            add(level, f"neighbourhoods of {pattern}, 3x3", values)
    return rows


def turned(cache: FeatureCache, results: Path) -> list[dict[str, Any]]:
    """SPC of the exact 1x1 readouts of single levels on the images and on their mirror images."""
    rows = []
    for level in TAPPED_LEVELS:
        for pattern in ODD.values():
            name = f"{pattern}-{level}-k1-d1-p0-s0"
            head = load_head(results, f"{cache.folder.name}-exact", name)
            for images in MIRRORS:
                maps = torch.from_numpy(cache.read(level, cache.rows(images))).float()
                with torch.no_grad():
                    read = head(maps)[:, 0].numpy()
                spc = score_maps(read, position_map(pattern, IMAGE_SIZE)).metrics["spc"]
                row = {"level": level, "pattern": pattern, "images": images, "spc": spc.mean()}
                rows.append({**network_of(cache), **row})
    return rows


def network_of(cache: FeatureCache) -> dict[str, Any]:
    return {"backbone": cache.identity.backbone, "weights": cache.identity.weights}


def tasks(options: argparse.Namespace) -> None:
    """Scenes that need up and down, or left and right, with and without mirrored images."""
    folder = options.folder / "tasks"
    for seed in options.seeds:
        on_the_side(folder / f"sides-{seed}", seed)
        read_task("random", "random", options, seed)
    for scenes, seed, mirror in product(("heights", "sides"), options.seeds, (False, True)):
        name = f"{scenes}{'-mirror' if mirror else ''}"
        config = MapConfig(
            "segmentation",
            out=checkpoint(folder, name, "zeros", seed),
            results_dir=folder / "results",
            levels=LEVELS,
            image_size=TASK_SIZE,
            limit=IMAGES,
            epochs=5,
            learning_rate=3e-4,
            mirror=mirror,
            seed=seed,
        )
        if scenes == "sides":
            own = folder / f"sides-{seed}"
            config = replace(config, data=own / "train", test=(own / "test",), classes=len(CLASSES))
        read_task(train_backbone(config), name, options, seed)


def on_the_side(folder: Path, seed: int) -> None:
    """The generated scenes with rows and columns exchanged, as a folder of images and masks."""
    for name, first, count in (("train", 0, IMAGES), ("test", GENERATED_TRAIN, 128)):
        pairs = GeneratedPairs("segmentation", seed, first, count, name)
        for kind in ("images", "masks"):
            (folder / name / kind).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            image, mask = pairs.load(index, TASK_SIZE)
            for kind, array in (("images", image), ("masks", mask)):
                path = folder / name / kind / f"{index:04d}.png"
                Image.fromarray(np.ascontiguousarray(array.swapaxes(0, 1))).save(path)


def read_task(weights: Any, name: str, options: argparse.Namespace, seed: int) -> None:
    """Exact 1x1 readouts of H and V from the levels that were trained."""
    cache = extract_features(
        ExtractConfig(
            VGG,
            weights=str(weights),
            weights_name=None if name == "random" else name,
            cache_dir=options.folder / "tasks" / f"features-{seed}",
            image_size=TASK_SIZE,
            seed=seed,
            limit=TASK_IMAGES,
        ),
        images=photographs(options),
    )
    train_probes(
        ProbeConfig(
            cache_dir=cache,
            results_dir=options.folder / "tasks" / f"position-{seed}",
            solver="exact",
            kernel_size=(1,),
            levels=TAPPED_LEVELS[:4],
            pattern=("H", "V"),
        )
    )


def summary(options: argparse.Namespace) -> None:
    results = read_results(options.folder / "results")
    measured = measure(results)
    make_tables(TablesConfig(results_dir=options.folder / "results", out=options.folder / "tables"))
    test = measured[(measured["images"] == "test") & (measured["depth"] == 1)]
    shape = ["run", "kernel_size", "reads"]
    for metric in ("spc", "mae"):
        print(f"\n{metric} on the test images")
        show(test.pivot_table(index=shape, columns="pattern", values=metric, sort=False))
    print("\nSPC of V minus that of H, paired by image")
    show(contrast_patterns(results, measured, "V", "H").set_index(shape))
    print("\nSPC of another padding minus that of zeros, paired by image")
    show(contrast(results, measured, "padding").query("reads == 'all'").set_index("more"))
    network = ["backbone", "weights", "level"]
    shares = pd.read_csv(options.folder / "mirrors.csv")
    shares["text"] = [
        f"{number(r.value)} ({number(r.low)} to {number(r.high)})" for r in shares.itertuples()
    ]
    print("\nIn the mirror, with 95 % intervals over images")
    show(shares.pivot(index=["measure", *network[:2]], columns="level", values="text"))
    scores = pd.read_csv(options.folder / "turned.csv")
    print("\nSPC of exact 1x1 readouts on images and mirror images")
    shape = [*network, "pattern"]
    show(scores.pivot_table(index=shape, columns="images", values="spc", sort=False))
    task_summary(options)


def task_summary(options: argparse.Namespace) -> None:
    """Means over seeds with 95 % t-intervals; differences are paired by seed."""
    pieces = [
        pd.read_csv(options.folder / "tasks" / f"position-{seed}" / "scores.csv").assign(seed=seed)
        for seed in options.seeds
    ]
    rows = pd.concat(pieces).query("images == 'test'")
    rows["weights"] = rows["weights"].str.replace(r"-seed\d+$", "", regex=True)
    for (level, pattern), part in rows.groupby(["levels", "pattern"], sort=False):
        wide = part.pivot(index="seed", columns="weights", values="spc")
        print(f"\n{pattern} from {level}, 1x1")
        for name in wide:
            print(f"  {name:16} {interval(wide[name])}")
        for name in ("heights", "sides"):
            print(f"  {name}, mirror - not: {interval(wide[f'{name}-mirror'] - wide[name])}")


def show(table: pd.DataFrame) -> None:
    print(table.map(lambda v: number(v) if isinstance(v, float) else v).to_string())


if __name__ == "__main__":
    main()
