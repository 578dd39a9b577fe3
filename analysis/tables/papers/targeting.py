"""Table T: a segmentation network without its foremost channels, and without random ones.

Random: the mean over the draws; in place of an interval one standard deviation either way.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.read.small import read_small
from analysis.tables.table import Material, Table
from data.vocabulary import TARGETING_CSV

_TEXTS = [
    *("network", "padding", "level", "rank", "fill", "which", "decoder", "test_set", "region"),
    *("metric", "run"),
]
_NUMBERS = ["channels", "removed", "draw", "value", "seed", "n_train", "n_test", "epochs"]
_KEY = ["condition", "network", "decoder", "measure", "which", "removed"]
_MEAN, _CLASS = "miou_percent", "iou_percent:"
TOP, RANDOM = "top", "random"


def table_t(scores: pd.DataFrame) -> pd.DataFrame:
    """The cells of table T, of the columns of `targeting.csv`.

    mIoU of the whole images and of their halves, and IoU of each class on the whole images, for
    the decoder as it was (kept) and trained again without the channels (retrained).
    """
    wanted = (scores["metric"] == _MEAN) | (scores["region"] == "whole")
    scores = scores[wanted]
    labels = {"condition": _condition, "network": _network, "measure": _measure}
    rows = list(scores.itertuples())
    scores = scores.assign(
        **{
            name: pd.Series([label(row) for row in rows], scores.index, dtype=object)
            for name, label in labels.items()
        },
        removed=scores["removed"].astype(int),
    )
    whole = scores[scores["removed"] == 0]  # the same for the foremost and for random ones
    scores = pd.concat([scores, whole.assign(which=RANDOM)], ignore_index=True)
    cells = scores.groupby(_KEY, sort=False, as_index=False).agg(
        percent=("value", "mean"), spread=("value", "std"), n_images=("n_test", "first")
    )
    return cells.assign(
        table="T",
        fill="",
        percent_low=cells["percent"] - cells["spread"],
        percent_high=cells["percent"] + cells["spread"],
        percent_sd=np.nan,
        published_percent=np.nan,
        percent_difference=np.nan,
        status="converged",
        n_undefined=0,
        n_seeds=1,
    )


def _condition(row: Any) -> str:
    filled = "their training mean" if row.fill == "mean" else "zero"
    return (
        f"{row.level} ({row.channels:.0f} channels), ranked by {row.rank}, removed channels at "
        f"{filled}; decoders retrained for {row.epochs:.0f} epochs on {row.n_train:.0f} images; "
        f"{row.n_test:.0f} images of {row.test_set}, run {row.run}"
    )


def _network(row: Any) -> str:
    return f"{row.network}, {row.padding}"


def _measure(row: Any) -> str:
    if row.metric == _MEAN:
        return "mIoU" if row.region == "whole" else f"mIoU, {row.region}"
    return str(row.metric.removeprefix(_CLASS))


def _cells(table: Table, material: Material) -> pd.DataFrame:
    return table_t(read_targeting(material))


def read_targeting(material: Material) -> pd.DataFrame:
    """The scores in `targeting.csv`, empty where there are none."""
    path = material.results.folder / TARGETING_CSV
    return read_small(path, _TEXTS, _NUMBERS, "targeting")


TABLE_T = Table(
    "T",
    "Table T. A segmentation network without its foremost channels, and without as many random "
    "ones: IoU in percent",
    ("network", "decoder", "measure", "which"),
    "removed",
    _cells,
    metrics=("percent",),
    of_maps=False,
    is_filled=lambda material: not read_targeting(material).empty,
)
