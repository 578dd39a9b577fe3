"""Padded against unpadded backbones on both tasks, and the position in the trained ones.

python -m benchmarks.task_backbones train [--seeds 0 1 2] [--paddings zeros none] [--epochs 5]
python -m benchmarks.task_backbones position
python -m benchmarks.task_backbones interior
python -m benchmarks.task_backbones summary

Everything lies below --folder (task_backbones); what is finished is not done again. Trainings are
at 104 pixels with the decoder on f3 and f4: without padding these are to 104 pixels what f3 to f5
are to 224 (f4 is left with 2 x 2 values, as f5 is there), at a fifth of the cost.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks.timing import machine
from data.vocabulary import TASKS
from extract.config import ExtractConfig
from extract.tasks.maps.config import MapConfig

SIZE, LEVELS = 104, "f3+f4"
IMAGES = 300  # of the generated set, a tenth of them held out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=("train", "position", "interior", "summary"))
    parser.add_argument("--folder", type=Path, default=Path("task_backbones"))
    parser.add_argument("--tasks", nargs="+", default=TASKS)
    parser.add_argument("--paddings", nargs="+", default=("zeros", "none"))
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--epochs", type=int, default=5)
    options = parser.parse_args()
    print(machine())
    if options.step == "train":
        train(options)
    elif options.step == "position":
        position(options)
    elif options.step == "interior":
        interior(options)
    else:
        summary(options.folder)


def train(options: argparse.Namespace) -> None:
    from extract.tasks.train import train_backbone

    for seed in options.seeds:
        for task in options.tasks:
            for padding in options.paddings:
                train_backbone(
                    MapConfig(
                        task,
                        out=checkpoint(options.folder, task, padding, seed),
                        padding=padding,
                        results_dir=options.folder / "results",
                        levels=LEVELS,
                        image_size=SIZE,
                        limit=IMAGES,
                        epochs=options.epochs,
                        learning_rate=3e-4,
                        seed=seed,
                    )
                )


def checkpoint(folder: Path, task: str, padding: str, seed: int) -> Path:
    return folder / f"{task}-{padding}-{seed}.pt"


def position(options: argparse.Namespace) -> None:
    """Table 6: the trained backbones and the same ones untrained, on the sample images."""
    from extract.run import extract_features
    from probe.config import ProbeConfig
    from probe.train import train_probes

    for seed in options.seeds:
        caches = options.folder / f"features-{seed}"  # "random" is called alike for every seed
        trained = [checkpoint(options.folder, task, "zeros", seed) for task in options.tasks]
        for weights in ("random", *map(str, trained)):
            extract_features(
                ExtractConfig(
                    "vgg16", weights=weights, cache_dir=caches, image_size=SIZE, seed=seed
                )
            )
        train_probes(
            ProbeConfig(
                cache_dir=caches,
                results_dir=options.folder / f"position-{seed}",
                pattern=("H", "G", "HS"),
                levels=("all", "f3", "f4"),
                batch_size=8,
            )
        )


def interior(options: argparse.Namespace) -> None:
    """The scores of the pixels alone that even unpadded f3 covers: what is left is no margin."""
    import torch

    from extract.tasks.maps.metrics import SaliencyScores, SegmentationScores
    from extract.tasks.maps.network import build_network
    from extract.tasks.maps.pairs.sets import test_pairs
    from extract.tasks.maps.predictor import to_maps
    from extract.tasks.saving import read, restore

    covered = slice(20, 84)  # relu3_3 without padding lies from pixel 19.5 to 83.5 of 104
    rows = []
    paths = sorted(p for p in options.folder.glob("*.pt") if not p.stem.endswith("-last"))
    for path in paths:
        made = read(path)["provenance"]
        config = MapConfig(
            made["task"], path, made["padding"], levels=LEVELS, image_size=SIZE, seed=made["seed"]
        )
        (pairs,) = test_pairs(config)
        network = build_network(config, len(pairs.classes) or 1)
        restore(path, network)
        scores = SegmentationScores(pairs.classes) if pairs.classes else SaliencyScores()
        for index in range(len(pairs)):
            image, mask = pairs.load(index, SIZE)
            with torch.no_grad():
                logits = network(torch.from_numpy(image)[None].permute(0, 3, 1, 2).float() / 255)
            scores.add(to_maps(logits)[0][covered, covered], mask[covered, covered])
        for metric, value in scores.scores().items():
            row = {key: made[key] for key in ("task", "padding", "seed")}
            rows.append({**row, "metric": f"{metric}, interior", "value": value})
    show(pd.DataFrame(rows))


def show(table: pd.DataFrame) -> None:
    """Every metric by padding, and each padding against none, paired by seed."""
    for (task, metric), rows in table.groupby(["task", "metric"], sort=False):
        wide = rows.pivot(index="seed", columns="padding", values="value")
        print(f"\n{task}, {metric}")
        for padding in wide:
            print(f"  {padding:10} {interval(wide[padding])}")
        if "none" in wide:
            for padding in wide.columns.drop("none"):
                print(f"  {padding} - none: {interval(wide[padding] - wide['none'])}")


def summary(folder: Path) -> None:
    """Means over seeds with 95 % t-intervals; differences are paired by seed."""
    path = folder / "results" / "tasks.csv"
    if path.exists():
        show(pd.read_csv(path))
    pieces = [pd.read_csv(path) for path in sorted(folder.glob("position-*/scores.csv"))]
    if not pieces:
        return
    scores = pd.concat(piece.assign(backbone_seed=number) for number, piece in enumerate(pieces))
    scores["weights"] = scores["weights"].str.replace(r"-seed\d+$", "", regex=True)
    key = ["levels", "pattern", "images"]
    for names, rows in scores[scores["backbone"] == "vgg16"].groupby(key, sort=False):
        wide = rows.pivot(index="backbone_seed", columns="weights", values="spc")
        print("\nSPC " + ", ".join(map(str, names)))
        for weights in wide:
            print(f"  {weights:14} {interval(wide[weights])}")
        for task in wide.columns.drop("random"):
            print(f"  {task} - random: {interval(wide[task] - wide['random'])}")


def interval(values: pd.Series) -> str:
    """Mean and 95 % interval of the values of several seeds."""
    found = values.dropna().to_numpy()
    if len(found) < 2:
        return f"{found.mean():.3f} (1 seed)" if len(found) else "undefined"
    half = stats.t.ppf(0.975, len(found) - 1) * found.std(ddof=1) / np.sqrt(len(found))
    seeds = f"{len(found)} seeds"
    return f"{found.mean():.3f} ({found.mean() - half:.3f} to {found.mean() + half:.3f}, {seeds})"


if __name__ == "__main__":
    main()
