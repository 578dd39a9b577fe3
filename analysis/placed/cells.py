"""From placed rows to the cells of a table: ours beside the published, every row and column."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from analysis.placed.read import EVERY_CELL, placed_tables
from analysis.tables.compare import NOTHING_MEASURED
from analysis.tables.table import Material, Table

PERCENT, ABOVE_CHANCE = "accuracy_percent", "above_chance_percent"
METRICS = (PERCENT, ABOVE_CHANCE)
LEVEL = "f5"  # what a network is pooled from: its deepest level
GAP, GMP = "mean", "max"

Fill = Callable[[dict[str, Any]], str]


def chosen(rows: pd.DataFrame, material: Material) -> pd.DataFrame:
    """The rows of the backbones and levels that were asked for."""
    if material.backbone:
        rows = rows[rows["backbone"].isin(material.backbone)]
    return rows[rows["level"].isin(material.levels)] if material.levels else rows


def of_network(
    rows: pd.DataFrame, *, level: str | None = LEVEL, ring: bool = False
) -> pd.DataFrame:
    """Readings of one level, of all cells unless `ring`, with the metrics of the tables."""
    if level is not None:
        rows = rows[rows["level"] == level]
    if not ring:
        rows = rows[rows["ring"] == EVERY_CELL]
    scaled = {
        PERCENT + end: 100 * rows[name].astype(float)
        for end, name in (("", "accuracy"), ("_low", "low"), ("_high", "high"))
    }
    above = {
        name.replace(PERCENT, ABOVE_CHANCE): above_chance(values, rows["chance"].astype(float))
        for name, values in scaled.items()
    }
    return rows.assign(n_images=rows["n_test_patches"], **scaled, **above)


def above_chance(percent: Any, chance: Any) -> Any:
    """Accuracy above chance in percent: 0 for guessing, 100 for no error."""
    return (percent - 100 * chance) / (1 - chance)


def published_cells(table: Table) -> pd.DataFrame:
    """The published values of a table: network, reading, pooling, column, published_*."""
    rows = placed_tables()
    return rows[rows["table"] == table.name].rename(columns={"value": f"published_{PERCENT}"})


def as_cells(table: Table, ours: pd.DataFrame, published: pd.DataFrame, fill: Fill) -> pd.DataFrame:
    """Every cell of a table, by condition: rows of the source first, then ours, columns in order.

    `ours` has condition, the table's rows and column and its metrics; `published` the same
    without condition. A cell that neither has stays empty; `fill` gives the command for one that
    only the source has ("" where nothing of ours may stand).
    """
    key = [*table.rows, table.column]
    of_any = dict.fromkeys(key, object)  # a column without rows would be of numbers
    ours, published = ours.astype(of_any), published.astype(of_any)
    blocks = list(ours.groupby("condition", sort=False)) or [(NOTHING_MEASURED, ours)]
    return pd.concat(
        [_block(table, str(name), part, published, key, fill) for name, part in blocks],
        ignore_index=True,
    )


def _block(
    table: Table,
    condition: str,
    ours: pd.DataFrame,
    published: pd.DataFrame,
    key: list[str],
    fill: Fill,
) -> pd.DataFrame:
    both = pd.concat([published[key], ours[key]])
    rows = list(dict.fromkeys(both[list(table.rows)].itertuples(index=False, name=None)))
    columns = sorted(set(both[table.column]), key=_order(both[table.column]))
    every = pd.DataFrame([(*row, column) for row, column in product(rows, columns)], columns=key)
    every = every.astype(object)
    ends = [f"{metric}{end}" for metric in table.metrics for end in ("", "_low", "_high", "_sd")]
    own = ours.reindex(columns=[*key, *ends, "n_images", "n_seeds"])  # some have no seeds
    cells = every.merge(published[[*key, *_published(table, published)]], how="left", on=key)
    cells = cells.merge(own, how="left", on=key, validate="1:1")
    for metric in table.metrics:
        cells[f"published_{metric}"] = cells.get(f"published_{metric}", np.nan)
        cells[f"{metric}_difference"] = cells[metric] - cells[f"published_{metric}"]
    lacking = cells["n_images"].isna() & cells[f"published_{table.metrics[0]}"].notna()
    cells["fill"] = [
        fill(cell) if lacks else ""
        for cell, lacks in zip(cells.to_dict("records"), lacking, strict=True)
    ]
    seeds = cells["n_seeds"].fillna(1)
    return cells.assign(
        table=table.name, condition=condition, status="converged", n_undefined=0, n_seeds=seeds
    )


def _published(table: Table, published: pd.DataFrame) -> list[str]:
    names = [f"published_{metric}" for metric in table.metrics]
    return [name for name in names if name in published]


def _order(values: pd.Series) -> Callable[[Any], Any]:
    """Numbers by size, texts as they come."""
    first = list(dict.fromkeys(values))
    if all(isinstance(value, (int, np.integer)) for value in first):
        return lambda value: value
    return first.index
