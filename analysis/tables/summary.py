"""The user's own result in one short table, and how far it follows the published one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.read.measured import in_table_order, shape_label, shown_shape
from analysis.read.published import HEAD
from analysis.tables.cells import marks, number
from analysis.tables.table import Material, find_tables
from data.targets import pattern_names
from probe.metrics import METRICS


def summary_title(measured: pd.DataFrame) -> str:
    """What `summary_lines` shows."""
    shape = shown_shape(measured)
    return f"SPC on natural images, {shape_label(shape).partition(', ')[2]}"


def summary_lines(measured: pd.DataFrame) -> list[list[str]]:
    """SPC by run and level (rows) and pattern (columns) as texts, header first.

    Of the readouts that differ in nothing else from `shown_shape`; seeds together. Marks are those
    of the tables.
    """
    shape = shown_shape(measured)
    same = measured["images"] == "test"
    for name in ("kernel_size", "depth", "probe_padding"):
        same &= measured[name] == shape[name]
    rows = measured[same].drop_duplicates(["run", "reads", "pattern"])
    patterns = [name for name in pattern_names() if name in set(rows["pattern"])]
    lines = [["run", "levels", *patterns]]
    rows = in_table_order(rows.sort_values("levels", key=lambda texts: texts.map(_place)))
    for (run, reads), part in rows.groupby(["run", "reads"], sort=False):
        found = {cell.pattern: cell for cell in part.assign(fill="").itertuples()}
        lines.append([str(run), str(reads), *(_spc(found.get(name)) for name in patterns)])
    return lines


def _place(levels: str) -> tuple[int, str]:
    return (levels.count("+"), levels)


def _spc(cell: Any) -> str:
    if cell is None:
        return "–"
    return (number(cell.spc) if np.isfinite(cell.spc) else "undefined") + marks(cell, "spc")


def agreement(material: Material) -> pd.DataFrame:
    """How well our cells follow the published ones, over VGG16's of all tables that are compared.

    Those are the paper's tables 1 to 4 and 6 (`Table.compared`). One row per condition and metric:
    condition, metric, n_cells, rank_correlation (Spearman, NaN below three cells) and
    mean_difference (ours minus published). A readout that stands in several tables counts once.
    """
    everything = Material(material.results, material.measured)
    tables = [t.compared(t, everything) for t in find_tables().values() if t.compared]
    cells = pd.concat(tables, ignore_index=True)
    cells = cells[cells["backbone"] == "vgg16"]
    cells = cells.drop_duplicates(["condition", *HEAD, "images", "weights"])
    rows = []
    for condition, part in cells.groupby("condition", sort=False):
        for metric in METRICS.values():
            if not metric.published:
                continue
            both = part[[metric.name, f"published_{metric.name}"]].dropna()
            if both.empty:
                continue
            ours, published = both.iloc[:, 0], both.iloc[:, 1]
            alike = len(both) < 3 or min(ours.nunique(), published.nunique()) < 2
            rows.append(
                {
                    "condition": condition,
                    "metric": metric.name,
                    "n_cells": len(both),
                    "rank_correlation": np.nan if alike else ours.rank().corr(published.rank()),
                    "mean_difference": (ours - published).mean(),
                }
            )
    names = ["condition", "metric", "n_cells", "rank_correlation", "mean_difference"]
    return pd.DataFrame(rows, columns=names)


def agreement_lines(found: pd.DataFrame) -> list[str]:
    """`agreement` in words, a sentence per condition and metric."""
    rows: list[Any] = list(found.itertuples())
    return [
        f"{METRICS[row.metric].label} of VGG16 beside the published {row.n_cells} cells: rank "
        f"correlation {number(row.rank_correlation)}, mean difference "
        f"{number(row.mean_difference, signed=True)} ({row.condition})"
        for row in rows
    ]
