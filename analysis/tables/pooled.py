"""Scores of the networks with global pooling that were trained: means over seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from analysis.read.columns import LOSS, TEXT, Kind, among, read_csv, whole
from data.intervals import over_networks
from data.vocabulary import PADDINGS, POOLED_CSV

ALL_CLASSES = {"shapes": 10, "digits": 10, "cifar10": 10, "cifar100": 100}
_SHARE = Kind("a number above 0 and below 1", float, lambda value: 0 < value < 1)
_RATE = Kind("a number above 0", float, lambda value: value > 0)
_LAMBDA = Kind("a number of at least 0, or empty", str, lambda text: not text or float(text) >= 0)
_KINDS = {
    "task": among("location", "classification"),
    "head": among("gap", "permute", "linear"),
    "downsample": among("stride", "blur"),
    "padding": among(*PADDINGS),
    "patches": among(*ALL_CLASSES),
    **dict.fromkeys(("network", "optimizer", "metric", "run"), TEXT),
    "patch_limit": Kind("a whole number, or empty", str, lambda text: not text or int(text) > 0),
    "augshift": _LAMBDA,
    **dict.fromkeys(("patch_size", "grid", "batch_size", "n_train", "n_test", "epochs"), whole(1)),
    "classes": whole(2),
    **dict.fromkeys(("mirror", "seed"), whole(0)),
    "learning_rate": _RATE,
    "chance": _SHARE,
    "value": LOSS,
}


def read_pooled(folder: Path) -> pd.DataFrame:
    """The scores in `pooled.csv` and their condition, empty where there are none.

    The condition is what moves scores and is no row or column of a table: patches and recipe.
    Raises `UserError` for a damaged file.
    """
    path = folder / POOLED_CSV
    scores = (
        read_csv(path, _KINDS, key=["run", "metric"])
        if path.exists()
        else pd.DataFrame({name: pd.Series(dtype=object) for name in _KINDS})
    )
    conditions = [
        recipe(row) + (", mirrored at random" if row.mirror else "") for row in scores.itertuples()
    ]
    return scores.assign(condition=pd.Series(conditions, scores.index, dtype=object))


def recipe(row: Any) -> str:
    """What a network was trained on, and how; mirrored or not."""
    limit = f"at most {row.patch_limit} patches" if row.patch_limit else "the whole set"
    return (
        f"trained on {row.patches}, {row.patch_size}x{row.patch_size} pixels, {limit}; "
        f"{row.epochs} epochs of {row.optimizer} at {row.learning_rate:g} in "
        f"batches of {row.batch_size}"
    )


def variant(row: Any) -> str:
    """What a network has that those of the sources lack: ", circular padding", or nothing."""
    return "" if row.padding == "zeros" else f", {row.padding} padding"


def over_seeds(scores: pd.DataFrame, key: list[str], metrics: list[str]) -> pd.DataFrame:
    """Means of `metrics` over the seeds of every cell, with _sd, _low, _high, n_seeds, n_images.

    The interval is Student's, over networks: of fewer than two there is none.
    """
    rows = []
    for cell, part in scores.groupby(key, sort=False):
        of_seeds = part.groupby("seed")[metrics].mean()  # the same network counts once
        means, arms = of_seeds.mean(), over_networks(of_seeds.to_numpy(float))
        row = dict(zip(key, cell, strict=True))
        row |= {"n_seeds": len(of_seeds), "n_images": round(part["n_test"].mean())}
        for metric, arm in zip(metrics, arms, strict=True):
            row |= {metric: means[metric], f"{metric}_sd": of_seeds[metric].std()}
            row |= {f"{metric}_low": means[metric] - arm, f"{metric}_high": means[metric] + arm}
        rows.append(row)
    ends = [f"{metric}{end}" for metric in metrics for end in ("", "_sd", "_low", "_high")]
    return pd.DataFrame(rows, columns=[*key, *ends, "n_seeds", "n_images"])
