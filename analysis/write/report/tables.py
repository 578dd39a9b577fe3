"""Tables of the report: cells with their lines, and plain ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.labels import metric_label
from analysis.read.results import Results
from analysis.tables import cells
from analysis.tables.grid import Grid
from analysis.tables.quality import quality_lines, quality_tables


@dataclass(frozen=True)
class Block:
    """A plain table: texts alone."""

    title: str
    header: list[str]
    lines: list[list[str]]
    labels: int  # how many of its columns name a row
    notes: Sequence[str] = ()


def block(title: str, lines: list[list[str]], labels: int, notes: Sequence[str] = ()) -> Block:
    """A table whose first line is its header."""
    header, *body = lines
    return Block(title, header, body, labels, notes)


def qualities(results: Results, measured: pd.DataFrame) -> list[Block]:
    """What the scores rest on."""
    if measured.empty:  # placed studies alone
        return []
    return [
        block(found.title, quality_lines(found), 3, found.notes)
        for found in quality_tables(results, measured)
    ]


def table(grid: Grid) -> dict[str, Any]:
    """One table of the paper, or of the study."""
    source, metrics = grid.table.source, grid.metrics
    rows: list[dict[str, Any]] = [
        {"labels": labels, "cells": [_cell(c, m, source) for c in found for m in metrics]}
        for labels, found in grid.rows
    ]
    texts = [cell["value"] for row in rows for cell in row["cells"]]
    return {
        "name": grid.table.name,
        "title": grid.title,
        "provenance": grid.provenance,
        "row_names": grid.row_names,
        "columns": grid.columns,
        "metrics": [metric_label(metric) for metric in metrics],
        "rows": rows,
        "notes": cells.legend(texts),
        "missing": grid.missing,
        "published": bool(source),
    }


def _cell(cell: Any, metric: str, source: str) -> dict[str, Any]:
    if cell is None:
        return {"value": cells.NOTHING, "kind": "unasked", "sort": "", "fill": "", "lines": {}}
    value = getattr(cell, metric)
    kind = "value" if np.isfinite(value) else "undefined"
    kind = "missing" if cells.is_missing(cell) else kind
    lines = {"interval": cells.interval(cell, metric), "deviation": ""}
    if np.isfinite(getattr(cell, f"{metric}_sd")):
        lines["deviation"] = f"± {cells.deviation(cell, metric)} over {cell.n_seeds:.0f} seeds"
    if source:
        lines["published"] = cells.published(cell, metric, source)
        lines["difference"] = cells.difference(cell, metric)
    return {
        "value": cells.ours(cell, metric),
        "kind": kind,
        "sort": f"{value:.6f}" if np.isfinite(value) else "",
        "fill": cell.fill,
        "lines": {name: text for name, text in lines.items() if text not in ("", cells.NOTHING)},
    }
