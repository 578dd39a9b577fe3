"""Table S1: location and image classification from globally pooled vectors, by reading."""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.placed.cells import (
    ABOVE_CHANCE,
    GAP,
    METRICS,
    PERCENT,
    above_chance,
    as_cells,
    chosen,
    of_network,
    published_cells,
)
from analysis.placed.read import read_placed
from analysis.tables.table import Material, Table

TRAINED, FROZEN = "trained for the task on CIFAR-10", "frozen"
_CIFAR_CLASSES = 10


def grid_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The readings of mean-pooled vectors of a grid, with what the columns of S1 call them."""
    grids = rows[(rows["study"] == "grid") & (rows["pooling"] == GAP)]
    columns = pd.Series([_column(row) for row in grids.itertuples()], grids.index, dtype=object)
    condition = grids["condition"] + ", canvas " + grids["canvas"]
    return grids.assign(column=columns, condition=condition)


def _column(row: Any) -> str:
    size = f"{row.grid}x{row.grid}"
    if row.task == "location":
        return f"location {size}"
    if row.task == "class":
        return f"image classification {size}"
    return f"image classification {size}, {round(1 / row.chance)} classes"


def _cells(table: Table, material: Material) -> pd.DataFrame:
    ours = of_network(grid_rows(chosen(read_placed(material.results.folder), material)))
    published = published_cells(table)
    chance = [_published_chance(column) for column in published["column"]]
    above = above_chance(published[f"published_{PERCENT}"], pd.Series(chance, published.index))
    published = published.assign(
        kind=TRAINED,
        **{f"published_{ABOVE_CHANCE}": above},
    )
    # A frozen network reads what it was never trained for: it stands in no cell of the source.
    return as_cells(table, ours.assign(kind=FROZEN), published, lambda cell: "")


def _published_chance(column: str) -> float:
    """Of location one cell of the grid, of CIFAR-10 one class."""
    task, _, size = column.rpartition(" ")
    side = int(size.partition("x")[0])
    return 1 / side**2 if task == "location" else 1 / _CIFAR_CLASSES


S1 = Table(
    "S1",
    "Location and image classification from globally pooled vectors",
    ("kind", "network", "reading"),
    "column",
    _cells,
    "Islam et al. (ICCV 2021)",
    ", slides and repository; networks trained end to end for each task on CIFAR-10",
    metrics=METRICS,
    of_maps=False,
    is_filled=lambda material: not grid_rows(read_placed(material.results.folder)).empty,
)
