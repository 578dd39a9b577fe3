"""The tables of the sources: our scores joined with the published ones, then arranged.

`compare` gives one row per cell of a source's table and condition; `grids` arranges them. The
join is on everything but the weights: a run on other weights stands beside the published value
under a heading that says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.labels import ROW_NAMES, cell_label, label_rows
from analysis.read.measured import METRICS, in_table_order, measure
from analysis.read.published import HEAD, REPRODUCTION, position_tables
from analysis.read.results import Results
from analysis.tables.commands import Situation, fill_command, situation
from analysis.tables.layouts import EVERY_LAYOUT, LAYOUTS, STUDY, Layout
from data.protocols import protocol_options
from data.targets import PATTERNS
from data.tools.errors import UserError
from data.vocabulary import ALL_LEVELS, INPUT, TAPPED_LEVELS

NOTHING_MEASURED = "nothing measured"
_EVERY_LEVEL = (INPUT, "+".join(TAPPED_LEVELS))  # of a published head
_KEY = [name for name in HEAD if name != "levels"] + ["reads", "images"]


@dataclass(frozen=True)
class Grid:
    """One table under one condition, arranged as its source arranges it."""

    layout: Layout
    condition: str
    row_names: list[str]
    columns: list[str]
    rows: list[tuple[tuple[str, ...], list[Any]]]  # labels; per column a row of `compare` or None
    missing: dict[str, int]  # command -> cells it would fill

    @property
    def title(self) -> str:
        """Its number and what it shows."""
        layout = self.layout
        return f"Table {layout.name}. {layout.title}" if layout.source else layout.title

    @property
    def provenance(self) -> list[str]:
        """What our values were measured on, and what they stand beside."""
        ours = [f"Ours: {self.condition}."]
        published = f"Published: {self.layout.source}{self.layout.published_on}."
        return [*ours, published] if self.layout.source else ours


def select(
    measured: pd.DataFrame, backbone: Sequence[str] = (), levels: Sequence[str] = ()
) -> pd.DataFrame:
    """The rows of some backbones and levels ("f5", "f1+f2" or "all"); an empty choice keeps all.

    Raises `UserError` for a backbone or levels that no row has, and where none has both.
    """
    for option, names, wanted in (
        ("--backbone", ["backbone"], backbone),
        ("--levels", ["levels", "reads"], levels),
    ):
        known = list(dict.fromkeys(value for name in names for value in measured[name]))
        for value in wanted:
            if value not in known:
                raise UserError(f"no scores of {option} {value}: use one of {', '.join(known)}")
    chosen = _choose(measured, backbone, levels)
    if chosen.empty:
        raise UserError(
            f"no scores of --backbone {', '.join(backbone)} with --levels {', '.join(levels)}: "
            "leave one of them out"
        )
    return chosen


def published_scores(name: str) -> pd.DataFrame:
    """The published rows of one table, with the columns `reads` and `model` that a join needs."""
    every = position_tables()
    table = every[every["table"] == name].reset_index(drop=True)
    whole = table["levels"].isin(_EVERY_LEVEL)
    return table.assign(reads=table["levels"].where(~whole, ALL_LEVELS)).pipe(label_rows)


def compare(
    name: str,
    results: Results,
    *,
    measured: pd.DataFrame | None = None,
    backbone: Sequence[str] = (),
    levels: Sequence[str] = (),
) -> pd.DataFrame:
    """Table `name` ("1", "2a", "2b", "3", "4", "R2"): one row per condition and cell.

    Columns: table, condition, `HEAD`, reads, model, images; all columns of `measure` about the
    score, NaN where it is missing; published_spc, published_mae, spc_difference, mae_difference
    (ours minus published); fill (the command that would measure it, or its missing seeds, or
    nothing). `measured` is `measure(results)`, for callers that have it.
    """
    layout = LAYOUTS[name]
    if measured is None:
        measured = measure(results)
    published = published_scores(name)
    every = pd.concat([measured[["backbone", "levels", "reads"]], published], ignore_index=True)
    select(every, backbone, levels)  # raises for a name that neither has
    pieces = []
    for condition, rows in _conditions(layout, measured):
        wanted, ours = _choose(published, backbone, levels), _choose(rows, backbone, levels)
        known = Situation(protocol=_protocol(layout), results_dir=results.folder)
        if not rows.empty:
            known = situation(rows, results)
        pieces.append(_join(layout, condition, wanted, _fitting(ours, layout, wanted), known))
    return pd.concat(pieces, ignore_index=True)


def study(measured: pd.DataFrame) -> pd.DataFrame:
    """Every measured readout on natural images, whatever its backbone, for a table of one's own.

    The columns are those of `compare`; nothing is published of it, and nothing is missing.
    """
    rows = measured[measured["images"] == "test"].drop_duplicates(["run", *HEAD])
    rows = in_table_order(rows.sort_values(["kernel_size", "depth", "probe_padding", "levels"]))
    empty = [name for m in METRICS for name in (f"published_{m}", f"{m}_difference")]
    named = rows.assign(table=STUDY.name, condition="every run of these results", fill="")
    return label_rows(named).assign(**dict.fromkeys(empty, np.nan)).reset_index(drop=True)


def grids(table: pd.DataFrame) -> list[Grid]:
    """What `compare` gives, arranged: one grid per condition."""
    return [
        _grid(EVERY_LAYOUT[str(name)], str(condition), cells)
        for (name, condition), cells in table.groupby(["table", "condition"], sort=False)
    ]


def _protocol(layout: Layout) -> str:
    return "reproduction" if layout.source == REPRODUCTION else "paper"


def _conditions(layout: Layout, measured: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Conditions whose recipe is that of the source, with their rows; at least one."""
    recipes = measured["protocol"].map(lambda name: protocol_options(name)[0])
    reproduction = recipes == "reproduction"
    rows = measured[reproduction if layout.source == REPRODUCTION else ~reproduction]
    found = [(str(name), part) for name, part in rows.groupby("condition", sort=False)]
    return found or [(NOTHING_MEASURED, rows)]


def _choose(rows: pd.DataFrame, backbone: Sequence[str], levels: Sequence[str]) -> pd.DataFrame:
    kept = pd.Series(True, index=rows.index)
    if backbone:
        kept &= rows["backbone"].isin(backbone)
    if levels:
        kept &= rows["reads"].isin(levels) | rows["levels"].isin(levels)
    return rows[kept]


def _fitting(rows: pd.DataFrame, layout: Layout, published: pd.DataFrame) -> pd.DataFrame:
    """Measured heads that belong in the table: those of the source, and their like."""
    fits = pd.Series(True, index=rows.index)
    for name, values in layout.heads.items():
        fits &= rows[name].isin(values)
    rows = rows[fits]
    if not layout.varied:
        return rows
    variants = rows.groupby("backbone")[list(layout.varied)].nunique().max(axis=1)
    shown = {*published["backbone"], *variants.index[variants > 1]}
    return rows[rows["backbone"].isin(shown)]


def _join(
    layout: Layout, condition: str, published: pd.DataFrame, ours: pd.DataFrame, known: Situation
) -> pd.DataFrame:
    # A head that reads all levels of a backbone without f5 answers the published one that reads
    # five: the join is on `reads`.
    wanted = published[[*_KEY, "levels", *METRICS]].rename(
        columns={name: f"published_{name}" for name in (*METRICS, "levels")}
    )
    table = wanted.merge(ours.drop(columns="condition"), how="outer", on=_KEY, validate="1:1")
    table["levels"] = table["levels"].fillna(table["published_levels"])
    for metric in METRICS:
        table[f"{metric}_difference"] = table[metric] - table[f"published_{metric}"]
    table["fill"] = [
        ""
        if row.n_seeds == known.seeds
        else fill_command(row.backbone, row.backbone_padding, row.images, known)
        for row in table.itertuples()
    ]
    table = label_rows(table).assign(table=layout.name, condition=condition)
    return _arrange(table, layout, published).drop(columns="published_levels")


def _arrange(table: pd.DataFrame, layout: Layout, published: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order of the source; what it lacks comes last in its group, sorted."""
    names = [*layout.rows, layout.column]
    order = {}
    for name in names:
        known = list(dict.fromkeys(published[name]))
        added = sorted(set(table[name]) - set(known))
        ranks = {value: rank for rank, value in enumerate([*known, *added])}
        if name in ("depth", "kernel_size"):
            ranks = {value: value for value in ranks}
        order[name] = table[name].map(ranks)
    return table.loc[pd.DataFrame(order).sort_values(names).index].reset_index(drop=True)


def _grid(layout: Layout, condition: str, cells: pd.DataFrame) -> Grid:
    columns = list(dict.fromkeys(cells[layout.column]))
    if layout.column == "pattern":
        columns.sort(key=PATTERNS.index)
    rows = []
    for key, part in cells.groupby(list(layout.rows), sort=False):
        found = {getattr(cell, layout.column): cell for cell in part.itertuples()}
        labels = tuple(cell_label(n, v) for n, v in zip(layout.rows, key, strict=True))
        rows.append((labels, [found.get(column) for column in columns]))
    missing = cells["fill"][cells["fill"] != ""].value_counts(sort=False)
    return Grid(
        layout,
        condition,
        [ROW_NAMES[name] for name in layout.rows],
        [cell_label(layout.column, column) for column in columns],
        rows,
        {str(command): int(count) for command, count in missing.items()},
    )
