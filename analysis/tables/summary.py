"""The user's own result in one short table, and how far it follows the published one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.labels import run_label
from analysis.read.measured import TABLE_1_HEAD, in_table_order, shape_label
from analysis.read.published import HEAD
from analysis.tables.cells import marks, number
from analysis.tables.table import Material, find_tables
from data.targets import pattern_names
from data.vocabulary import ALL_LEVELS
from probe.metrics import METRICS


def summary_title(measured: pd.DataFrame) -> str:
    """What `summary_lines` shows; the readouts' shape where all have the same."""
    shapes = _with_shapes(measured)["shape"].unique()
    return "SPC on natural images" + (f", {shapes[0]}" if len(shapes) == 1 else "")


def summary_lines(measured: pd.DataFrame) -> list[list[str]]:
    """SPC by run, level and shape of the readout (rows) and pattern (columns), header first.

    Everything measured stands here, seeds together; readouts of one shape have no column `readout`.
    Marks are those of the tables.
    """
    rows = _with_shapes(measured)
    rows = rows.drop_duplicates(["run", "reads", "shape", "pattern"])
    rows = rows.sort_values(["kernel_size", "depth", "probe_padding"])
    rows = rows.sort_values("reads", key=lambda texts: texts.map(_place), kind="stable")
    runs = list(dict.fromkeys(in_table_order(rows)["run"]))
    rows = rows.sort_values("run", key=lambda names: names.map(runs.index), kind="stable")
    labels = ["reads"] if rows["shape"].nunique() <= 1 else ["reads", "shape"]
    patterns = [name for name in pattern_names() if name in set(rows["pattern"])]
    lines = [["run", "levels", *(["readout"] if len(labels) > 1 else []), *patterns]]
    rows = rows.assign(run=[run_label(row) for row in rows.itertuples()])
    for texts, part in rows.groupby(["run", *labels], sort=False):
        found = {cell.pattern: cell for cell in part.assign(fill="").itertuples()}
        lines.append([*map(str, texts), *(_spc(found.get(name)) for name in patterns)])
    return lines


def summary_labels(lines: list[list[str]]) -> int:
    """How many columns of `summary_lines` name a row."""
    return 3 if lines[0][2:3] == ["readout"] else 2


def _with_shapes(measured: pd.DataFrame) -> pd.DataFrame:
    """Rows of natural images; `shape` has what a readout is, in words, without its levels."""
    rows = measured[measured["images"] == "test"]
    shapes = [
        shape_label(dict(zip(TABLE_1_HEAD, values, strict=True))).partition(", ")[2]
        for values in rows[list(TABLE_1_HEAD)].itertuples(index=False)
    ]
    return rows.assign(shape=shapes)


def _place(reads: str) -> tuple[bool, int, int, str]:
    """Single levels in their order, then several together, all of them last."""
    return (reads == ALL_LEVELS, reads.count("+"), len(reads), reads)


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
