"""Table S: how far pooled vectors move when the image is moved by a few pixels."""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.placed.cells import as_cells, chosen
from analysis.placed.read import read_consistency
from analysis.tables.table import Material, Table

CHANGE = "change_percent"


def _cells(table: Table, material: Material) -> pd.DataFrame:
    rows = read_consistency(material.results.folder)
    ours = chosen(shift_rows(rows[rows["pixels"] == "all"]), material)
    return as_cells(table, ours, ours.iloc[:0], lambda cell: "")


def shift_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Relative change in percent, and under which condition it was measured."""
    percent = {
        f"{CHANGE}{end}": 100 * rows[name].astype(float)
        for end, name in (("", "change"), ("_low", "low"), ("_high", "high"))
    }
    conditions = [_condition(row) for row in rows.itertuples()]
    return rows.assign(condition=pd.Series(conditions, rows.index, dtype=object), **percent)


def _condition(row: Any) -> str:
    return (
        f"{row.n_images} images ({row.patches}, {row.patch_size} x {row.patch_size} pixels), mean "
        f"over shifts by 1 to {row.most} pixels down and to the right"
    )


S = Table(
    "S",
    "Table S. Relative change of pooled vectors under small shifts, percent",
    ("network", "level", "pooling"),
    "shift",
    _cells,
    metrics=(CHANGE,),
    of_maps=False,
    is_filled=lambda material: not read_consistency(material.results.folder).empty,
)
