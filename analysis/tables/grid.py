"""Cells arranged as their source arranges them: what every format prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.labels import ROW_NAMES, cell_label
from analysis.tables.table import Table, find_tables
from data.targets import PATTERNS
from probe.metrics import METRICS


@dataclass(frozen=True)
class Grid:
    """One table under one condition, arranged as its source arranges it."""

    table: Table
    metrics: tuple[str, ...]  # shown in each cell
    condition: str
    row_names: list[str]
    columns: list[str]
    rows: list[tuple[tuple[str, ...], list[Any]]]  # labels; per column a row of `compare` or None
    missing: dict[str, int]  # command -> cells it would fill

    @property
    def title(self) -> str:
        """Its number and what it shows."""
        table = self.table
        return f"Table {table.name}. {table.title}" if table.source else table.title

    @property
    def is_measured(self) -> bool:
        """Whether any cell has a value of ours."""
        cells = (cell for _, found in self.rows for cell in found if cell is not None)
        return any(cell.n_images > 0 for cell in cells)

    @property
    def provenance(self) -> list[str]:
        """What our values were measured on, and what they stand beside."""
        ours = [f"Ours: {self.condition}."]
        published = f"Published: {self.table.source}{self.table.published_on}."
        return [*ours, published] if self.table.source else ours


def grids(cells: pd.DataFrame) -> list[Grid]:
    """What the tables' `cells` give, arranged: one grid per table and condition."""
    tables = find_tables()
    return [
        _grid(tables[str(name)], str(condition), part)
        for (name, condition), part in cells.groupby(["table", "condition"], sort=False)
    ]


def _grid(table: Table, condition: str, cells: pd.DataFrame) -> Grid:
    columns = list(dict.fromkeys(cells[table.column]))
    if table.column == "pattern":
        columns.sort(key=lambda name: (*PATTERNS, name).index(name))
    rows = []
    for key, part in cells.groupby(list(table.rows), sort=False):
        found = {getattr(cell, table.column): cell for cell in part.itertuples()}
        labels = tuple(cell_label(n, v) for n, v in zip(table.rows, key, strict=True))
        rows.append((labels, [found.get(column) for column in columns]))
    missing = cells["fill"][cells["fill"] != ""].value_counts(sort=False)
    return Grid(
        table,
        table.metrics or _with_values(cells),
        condition,
        [ROW_NAMES.get(name, name) for name in table.rows],
        [cell_label(table.column, column) for column in columns],
        rows,
        {str(command): int(count) for command, count in missing.items()},
    )


def _with_values(cells: pd.DataFrame) -> tuple[str, ...]:
    """The metrics that were published, or measured of any cell: older results lack newer ones."""
    return tuple(m.name for m in METRICS.values() if m.published or cells[m.name].notna().any())
