"""Made-up results of placed studies, as `train-probes --placed` and `--channels` write them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from probe.results.placed import (
    ABLATIONS,
    PLACED,
    PLACED_COLUMNS,
    PLACED_KEY,
    PLACED_PATCHES,
    SEGMENTATION,
)

TEST_PATCHES = 40
Accuracy = Callable[[dict[str, Any]], float]


def as_published(row: dict[str, Any]) -> float:
    """Accuracies that behave as the papers say."""
    chance = row["chance"]
    if row["task"] != "location":
        return 0.8
    if row["backbone_padding"] == "circular":
        return chance
    if row["study"] == "corners":
        return {0: 1.0, 16: 1.0, 32: 0.95, 64: 0.8, 128: 0.55}[row["border"]]
    worth = {"ordered": 0.9, "permuted": 0.1, "sorted": 0.6, "mean": 0.1}[row["reading"]]
    worth *= {"zeros": 1.0}.get(row["backbone_padding"], 0.8)
    worth *= {"": 1.0, "0": 1.0, "1": 0.7, "2": 0.5, "3": 0.4}[row["ring"]]
    return chance + (1 - chance) * worth


class PlacedBuilder:
    """Collects rows; `write` makes the files."""

    def __init__(self, accuracy: Accuracy = as_published) -> None:
        self.accuracy = accuracy
        self.rows: list[dict[str, Any]] = []

    def grid(self, grid: int = 3, *, classes: bool = False, **changes: Any) -> PlacedBuilder:
        """One network on a grid: every reading of two levels, whole and by ring."""
        rings = ["", *map(str, range((grid + 1) // 2))]
        for level in ("f1", "f5"):
            for reading in ("ordered", "permuted", "sorted", "mean"):
                for ring in rings:
                    self._add(
                        level=level, reading=reading, grid=grid, chance=1 / grid**2, ring=ring,
                        **changes,
                    )  # fmt: skip
                    if classes:
                        self._add(
                            level=level, reading=reading, grid=grid, chance=0.1, ring=ring,
                            task="class", patches="shapes", **changes,
                        )  # fmt: skip
        return self

    def corners(
        self, borders: Iterable[int] = (0, 16, 32, 64, 128), **changes: Any
    ) -> PlacedBuilder:
        """One network on two corners inside each border, pooled in both ways."""
        for border in borders:
            for pooling in ("max", "mean"):
                self._add(
                    study="corners", pooling=pooling, border=border, grid=2, chance=0.5,
                    patch_size=56, **{"gap": 8} | changes,
                )  # fmt: skip
        return self

    def _add(self, **changes: Any) -> None:
        row: dict[str, Any] = {
            **{"study": "grid", "backbone": "resnet18", "weights": "random"},
            **{"backbone_padding": "zeros", "level": "f5", "pooling": "mean", "task": "location"},
            **{"reading": "ordered", "solver": "softmax", "grid": 3, "border": 0},
            **{"canvas": "black", "patches": "samples", "patch_size": 32, "ring": ""},
            **{"n_train_patches": 140, "n_test_patches": TEST_PATCHES, "permutations": 1},
            **{"seed": 0, "gap": 0},
            **changes,
        }
        row.setdefault("calibration", "placed" if row["study"] == "corners" else "whole")
        where = ("study", "grid", "border", "gap", "canvas", "patches", "calibration")
        place = "-".join(str(row[name]) for name in where)
        row["run"] = "-".join(
            ["placed", row["backbone"], row["weights"], row["backbone_padding"], place]
        )
        row["accuracy"] = self.accuracy(row)
        row["low"], row["high"] = row["accuracy"] - 0.02, row["accuracy"] + 0.02
        self.rows.append(row)

    def write(self, folder: Path) -> Path:
        """`placed.csv` and `placed_patches.csv`."""
        folder.mkdir(parents=True, exist_ok=True)
        table = pd.DataFrame(self.rows)[PLACED_COLUMNS]
        table.to_csv(folder / PLACED, index=False)
        noise = np.random.default_rng(0).uniform(-0.005, 0.005, TEST_PATCHES)
        noise -= noise.mean()
        pieces = [
            pd.DataFrame(
                {
                    **{name: row[name] for name in PLACED_KEY},
                    "patch": range(TEST_PATCHES),
                    "accuracy": self._of_patches(row, noise),
                }
            )
            for row in self.rows
        ]
        pd.concat(pieces).to_csv(folder / PLACED_PATCHES, index=False)
        return folder

    def _of_patches(self, row: dict[str, Any], noise: np.ndarray) -> np.ndarray:
        if row["accuracy"] in (row["chance"], 1.0):
            return np.full(TEST_PATCHES, row["accuracy"])
        return np.clip(row["accuracy"] + noise * (1 + len(row["reading"]) % 3), 0, 1)


def write_ablations(folder: Path) -> None:
    """`ablations.csv` of one network: 100 % that a kept head loses and solving again finds."""
    rows = []
    for ablated in (0, 50, 100):
        for head in ("kept",) if not ablated else ("kept", "re-solved", "alone"):
            value = {"kept": 1 - ablated / 200, "re-solved": 1.0, "alone": 0.9}[head]
            rows.append(
                {
                    **{"run": "placed-resnet18", "backbone": "resnet18", "weights": "random"},
                    **{"backbone_padding": "zeros", "level": "f5", "pooling": "mean"},
                    **{"rank": "eta", "fill": "mean", "task": "location", "metric": "accuracy"},
                    **{"head": head, "channels": 512, "ablated": ablated, "value": value},
                    **{"random": value - 0.05 if ablated else value, "random_sd": 0.01},
                    **{"draws": 10, "n_test": TEST_PATCHES, "seed": 0},
                }
            )
    pd.DataFrame(rows).to_csv(folder / ABLATIONS, index=False)


def write_segmentation(folder: Path) -> None:
    """`segmentation.csv` of two networks: without a border the half of the canvas is not known."""
    images = "placed-maps-g3-black-P16-shapes"
    rows = [
        {
            **{"run": f"{images}-own-random-{padding}", "images": images, "backbone": "own"},
            **{"weights": "random", "backbone_padding": padding, "levels": level},
            **{"target": target, "n_test": 8, "class": name, "ring": ring},
            "iou": 0.8 if target == "class" else half[level] - (0.1 if ring == "1" else 0.0),
        }
        for padding, half in (
            ("zeros", {"f1": 0.4, "f2": 0.6}),
            ("circular", {"f1": 0.4, "f2": 0.4}),
        )
        for level in ("f1", "f2")
        for target, names in (("class", ["disc"]), ("class and half", ["disc, left"]))
        for name in ("mean", "background", *names)
        for ring in ("", "0", "1")
    ]
    pd.DataFrame(rows).to_csv(folder / SEGMENTATION, index=False)
