"""Table D: location by canvas, padding and distance to the border."""

from __future__ import annotations

import pandas as pd

from analysis.placed.cells import METRICS, as_cells, chosen, of_network
from analysis.placed.read import EVERY_CELL, read_placed
from analysis.placed.tables.pooling import grid_rows
from analysis.tables.table import Material, Table


def ring_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The ordered readings of location on grids, whole and by ring."""
    found = grid_rows(rows).query("task == 'location' and reading == 'ordered'")
    condition = [
        f"{row.condition.rpartition(', canvas ')[0]}, {row.grid} x {row.grid} cells"
        for row in found.itertuples()
    ]
    return found.assign(condition=pd.Series(condition, found.index, dtype=object))


def ring_label(ring: str, patch_size: int) -> str:
    """A ring by its least distance to the border."""
    return "all cells" if ring == EVERY_CELL else f"{int(ring) * patch_size} pixels from the border"


def _cells(table: Table, material: Material) -> pd.DataFrame:
    rows = ring_rows(chosen(read_placed(material.results.folder), material))
    ours = of_network(rows, ring=True)
    ours = ours.sort_values(
        ["network", "ring"], key=lambda texts: texts.replace(EVERY_CELL, ""), kind="stable"
    )
    labels = [ring_label(row.ring, row.patch_size) for row in ours.itertuples()]
    return as_cells(table, ours.assign(ring=labels), ours.iloc[:0], lambda cell: "")


D = Table(
    "D",
    "Table D. Location from pooled vectors, by canvas, padding and distance to the border",
    ("network", "ring"),
    "canvas",
    _cells,
    metrics=METRICS,
    of_maps=False,
    is_filled=lambda material: not ring_rows(read_placed(material.results.folder)).empty,
)
