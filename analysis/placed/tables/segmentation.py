"""Table L: location-dependent segmentation, what 1x1 heads draw of placed patches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.placed.cells import as_cells, chosen
from analysis.placed.read import EVERY_CELL, read_segmentation
from analysis.tables.table import Material, Table

MIOU = "miou_percent"
_MEAN = "mean"  # in the column `class`: over the classes


def segmentation_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean intersection over union of every network, level, target and ring, in percent."""
    means = rows[rows["class"] == _MEAN]
    condition = [_condition(row) for row in means.itertuples()]
    return means.rename(columns={"levels": "level"}).assign(
        condition=pd.Series(condition, means.index, dtype=object),
        n_images=means["n_test"],
        **{MIOU: 100 * means["iou"].astype(float), f"{MIOU}_low": np.nan, f"{MIOU}_high": np.nan},
    )


def _condition(row: Any) -> str:
    return f"1x1 heads on {row.images or 'aligned maps'}, {row.n_test} test patches"


def _cells(table: Table, material: Material) -> pd.DataFrame:
    ours = chosen(segmentation_rows(read_segmentation(material.results.folder)), material)
    rings = ["all cells" if ring == EVERY_CELL else f"ring {ring}" for ring in ours["ring"]]
    return as_cells(table, ours.assign(ring=rings), ours.iloc[:0], lambda cell: "")


L = Table(
    "L",
    "Table L. Segmentation of placed patches, by level and ring of cells (0 touches the edge)",
    ("network", "level", "ring"),
    "target",
    _cells,
    metrics=(MIOU,),
    of_maps=False,
    is_filled=lambda material: not read_segmentation(material.results.folder).empty,
)
