"""Table M: do networks trained on a grid tell left from right, with and without mirrored images?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.tables.pooled import over_seeds, read_pooled, recipe, variant
from analysis.tables.table import Material, Table

AXES = {"odd_x_percent": "left from right", "odd_y_percent": "up from down"}
_ROWS = ["task", "network", "training"]


def table_m(scores: pd.DataFrame) -> pd.DataFrame:
    """The cells of table M, of what `read_pooled` gives: means over seeds, with intervals."""
    scores = scores[scores["metric"].isin(AXES)]
    labels = {"condition": recipe, "task": _task, "network": _network, "training": _training}
    rows = list(scores.itertuples())
    scores = scores.assign(
        axis=scores["metric"].map(AXES),
        percent=scores["value"],
        **{
            name: pd.Series([label(row) for row in rows], scores.index, dtype=object)
            for name, label in labels.items()
        },
    )
    return over_seeds(scores, ["condition", *_ROWS, "axis"], ["percent"]).assign(
        table="M",
        fill="",
        published_percent=np.nan,
        percent_difference=np.nan,
        status="converged",
        n_undefined=0,
    )


def _task(row: Any) -> str:
    classes = "" if row.task == "location" else f", {row.classes} classes"
    return f"{row.task} {row.grid}x{row.grid}{classes}"


def _network(row: Any) -> str:
    blur = ", blur" if row.downsample == "blur" else ""
    return f"{row.network}, {row.head} head{blur}{variant(row)}"


def _training(row: Any) -> str:
    return "mirrored at random" if row.mirror else "as they are"


def _cells(table: Table, material: Material) -> pd.DataFrame:
    return table_m(read_pooled(material.results.folder))


TABLE_M = Table(
    "M",
    "Table M. What changes its sign in a mirror, of all that pooled vectors say of the column "
    "(left from right) and of the row (up from down)",
    tuple(_ROWS),
    "axis",
    _cells,
    metrics=("percent",),
    of_maps=False,
    is_filled=lambda material: not table_m(read_pooled(material.results.folder)).empty,
)
