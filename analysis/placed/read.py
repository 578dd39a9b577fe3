"""What `train-probes --placed` and `--channels` wrote, checked; needs no torch."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.read.columns import LOSS, TEXT, Kind, among, read_csv, whole
from data.images.placed.shifts import SHIFTS
from probe.results.placed import (
    ABLATIONS,
    CONSISTENCY,
    PLACED,
    PLACED_COLUMNS,
    PLACED_KEY,
    PLACED_PATCHES,
    SEGMENTATION,
)

PUBLISHED = resources.files("analysis") / "published" / "placed_tables.csv"
EVERY_CELL = "all"  # in the column `ring`
EVERY_SHIFT = "all"  # in the column `pixels`


def _optional_number(text: str) -> float:
    return float(text) if text else np.nan


_SHARE = Kind(
    "a number from 0 to 1, or empty where undefined",
    _optional_number,
    lambda value: bool(np.isnan(value) or 0 <= value <= 1),
)
_RING = Kind(
    "a whole number of at least 0, or empty for all cells",
    lambda text: text or EVERY_CELL,
    lambda value: value == EVERY_CELL or value.isdigit(),
)
# The images that untrained BatchNorms have the statistics of: "" of networks that have none.
_IMAGES_OF = ("", "whole", "placed")
# Where they are not the usual ones: those are no condition, for networks without any stand beside.
_UNUSUAL = {("corners", "whole"): "whole images", ("grid", "placed"): "placed images"}
# Columns that older results lack.
_NEWER = {
    "gap": Kind("a whole number of at least 0", lambda text: int(text or 0), lambda n: n >= 0),
    "calibration": Kind("whole, placed or empty", str, lambda text: text in _IMAGES_OF),
}
_PLACED_KINDS = dict.fromkeys((name for name in PLACED_COLUMNS if name not in _NEWER), TEXT) | {
    "study": among("grid", "corners"),
    "pooling": among("mean", "max"),
    "grid": whole(2),
    "border": whole(0),
    "patch_size": whole(1),
    "accuracy": _SHARE,
    "chance": _SHARE,
    "low": LOSS,
    "high": LOSS,
    "ring": _RING,
    "n_train_patches": whole(1),
    "n_test_patches": whole(1),
    "permutations": whole(0),
    "seed": whole(0),
}
_STUDY = ["study", "grid", "border", "gap", "canvas", "patches", "patch_size", "calibration"]
_PATCH_KINDS = dict.fromkeys(PLACED_KEY, TEXT) | {
    "ring": _RING,
    "patch": whole(0),
    "accuracy": _SHARE,
}
_ABLATION_KINDS = {
    **dict.fromkeys(("run", "backbone", "weights", "backbone_padding", "level"), TEXT),
    **dict.fromkeys(("pooling", "rank", "fill", "task", "metric"), TEXT),
    "head": among("kept", "re-solved", "alone"),
    "channels": whole(1),
    "ablated": whole(0),
    "value": LOSS,
    "random": LOSS,
    "random_sd": LOSS,
    "draws": whole(1),
    "n_test": whole(1),
    "seed": whole(0),
}
_ABLATION_KEY = ["run", "level", "pooling", "rank", "fill", "task", "head", "ablated"]
_SEGMENTATION_KINDS = {
    **dict.fromkeys(("run", "backbone", "weights", "backbone_padding", "levels"), TEXT),
    **dict.fromkeys(("target", "class"), TEXT),
    "ring": _RING,
    "iou": _SHARE,
    "n_test": whole(1),
}
_SEGMENTATION_KEY = ["run", "levels", "target", "class", "ring"]
_CONSISTENCY_KINDS = {
    **dict.fromkeys(("run", "backbone", "weights", "backbone_padding", "patches", "level"), TEXT),
    "shift": among(*SHIFTS),
    "pooling": among("mean", "max"),
    "pixels": Kind(
        "a whole number of at least 1, or empty for the mean over all",
        lambda text: text or EVERY_SHIFT,
        lambda value: value == EVERY_SHIFT or value.isdigit(),
    ),
    **dict.fromkeys(("change", "low", "high", "between_images"), LOSS),
    **dict.fromkeys(("median_channel", "largest_channel"), LOSS),
    **dict.fromkeys(("patch_size", "n_images"), whole(1)),
}
_CONSISTENCY_KEY = ["run", "shift", "level", "pooling", "pixels"]
_IMAGES = {"images": Kind("a text", str)}  # which older results do not name


def has_placed(folder: Path) -> bool:
    """Whether a results folder holds anything of placed studies."""
    return any((folder / name).exists() for name in (PLACED, ABLATIONS, SEGMENTATION, CONSISTENCY))


def read_placed(folder: Path) -> pd.DataFrame:
    """`placed.csv`: `PLACED_COLUMNS`, network and condition; without rows where there is none.

    `ring` is a text, "all" for all cells; `network` names what was frozen; `condition` says what
    readouts that may stand in one table share: patches, statistics and solver. Raises `UserError`
    for a damaged file.
    """
    key = [*PLACED_KEY, "seed"]
    rows = _read(folder / PLACED, _PLACED_KINDS, key, _NEWER)
    conditions = [_condition(row) for row in rows.itertuples()]
    return rows.assign(
        condition=pd.Series(conditions, rows.index, dtype=object),
        network=networks(rows, [*key, *_STUDY]),
    )


def read_patches(folder: Path) -> pd.DataFrame:
    """`placed_patches.csv`: accuracy of every reading on every test patch; `PLACED_KEY`, patch."""
    return _read(folder / PLACED_PATCHES, _PATCH_KINDS, [*PLACED_KEY, "patch"])


def read_ablations(folder: Path) -> pd.DataFrame:
    """`ablations.csv` and network; without rows where there is none."""
    rows = _read(folder / ABLATIONS, _ABLATION_KINDS, _ABLATION_KEY)
    return rows.assign(network=networks(rows, _ABLATION_KEY))


def read_segmentation(folder: Path) -> pd.DataFrame:
    """`segmentation.csv` and network; without rows where there is none."""
    rows = _read(folder / SEGMENTATION, _SEGMENTATION_KINDS, _SEGMENTATION_KEY, _IMAGES)
    return rows.assign(network=networks(rows, [*_SEGMENTATION_KEY, "images"]))


def read_consistency(folder: Path) -> pd.DataFrame:
    """`consistency.csv`, network, and `most` pixels of the run; `pixels` is "all" for the mean."""
    rows = _read(folder / CONSISTENCY, _CONSISTENCY_KINDS, _CONSISTENCY_KEY)
    most = rows["pixels"].where(rows["pixels"] != EVERY_SHIFT, "0").astype(int)
    return rows.assign(
        network=networks(rows, _CONSISTENCY_KEY), most=most.groupby(rows["run"]).transform("max")
    )


def placed_tables() -> pd.DataFrame:
    """The published numbers of tables K4 and S1, one row per value.

    K4: figure 4 of Kayhan and van Gemert (CVPR 2020), read off the plot by +-.3 to 1 (`note`).
    S1: the slides of Islam et al. (ICCV 2021).
    """
    with PUBLISHED.open(encoding="utf-8") as opened:
        return pd.read_csv(opened, keep_default_na=False)


def network_label(backbone: str, weights: str, padding: str = "zeros") -> str:
    """A network in words: backbone, weights, and its padding where it is not zeros."""
    label = f"{backbone}, {'untrained' if weights == 'random' else weights}"
    return label if padding == "zeros" else f"{label}, {padding} padding"


def networks(rows: pd.DataFrame, key: list[str]) -> pd.Series:
    """What was frozen, for every row; with the run's name where another run would be called so.

    Runs may differ in what no column says (protocol, normalisation, files of one name).
    """
    named = rows[["backbone", "weights", "backbone_padding"]].itertuples(index=False, name=None)
    names = [network_label(*map(str, row)) for row in named]
    found = pd.Series(names, rows.index, dtype=object)
    runs = rows["run"].groupby([found, *(rows[name] for name in key if name != "run")])
    if rows.empty or runs.transform("nunique").max() == 1:
        return found
    return found + " (" + rows["run"] + ")"


def _condition(row: Any) -> str:
    apart = f"{row.gap} pixels apart, " if row.study == "corners" else ""
    statistics = _UNUSUAL.get((row.study, row.calibration))
    of = f"statistics of {statistics}, " if statistics else ""
    return (
        f"patches {row.patches}, {row.patch_size} x {row.patch_size} pixels, {apart}{of}"
        f"{row.n_train_patches} to train and {row.n_test_patches} to test, seed {row.seed}, "
        f"{_SOLVERS.get(row.solver, row.solver)}"
    )


_SOLVERS = {"softmax": "softmax regression", "exact": "ridge regression"}


def _read(
    path: Path, kinds: dict[str, Kind], key: list[str], optional: dict[str, Kind] | None = None
) -> pd.DataFrame:
    if not path.exists():
        return pd.DataFrame({name: pd.Series(dtype=object) for name in kinds | (optional or {})})
    return read_csv(path, kinds, key=key, optional=optional)
