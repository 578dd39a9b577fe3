"""Scores of the networks with global pooling that were trained: means over seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from analysis.read.small import read_small
from data.intervals import over_networks
from data.vocabulary import POOLED_CSV

ALL_CLASSES = {"shapes": 10, "digits": 10, "cifar10": 10, "cifar100": 100}
_TEXTS = [
    *("task", "network", "head", "downsample", "padding", "patches", "patch_limit", "augshift"),
    *("optimizer", "metric", "run"),
]
_NUMBERS = [
    *("patch_size", "grid", "classes", "mirror", "learning_rate", "batch_size", "value", "chance"),
    *("seed", "n_train", "n_test", "epochs", "best_epoch"),
]


def read_pooled(folder: Path) -> pd.DataFrame:
    """The scores in `pooled.csv` and their condition, empty where there are none.

    The condition is what moves scores and is no row or column of a table: patches and recipe.
    """
    scores = read_small(folder / POOLED_CSV, _TEXTS, _NUMBERS, "location|classification")
    conditions = [_condition(row) for row in scores.itertuples()]
    return scores.assign(condition=pd.Series(conditions, scores.index, dtype=object))


def _condition(row: Any) -> str:
    limit = f"at most {row.patch_limit} patches" if row.patch_limit else "the whole set"
    mirrored = ", mirrored at random" if row.mirror else ""
    return (
        f"trained on {row.patches}, {row.patch_size:.0f}x{row.patch_size:.0f} pixels, {limit}"
        f"{mirrored}; {row.epochs:.0f} epochs of {row.optimizer} at {row.learning_rate:g} in "
        f"batches of {row.batch_size:.0f}"
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
