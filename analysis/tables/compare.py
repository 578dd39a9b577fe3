"""The tables of the sources: our scores joined with the published ones.

The join is on everything but the weights: a run on other weights stands beside the published value
under a heading that says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from analysis.labels import label_rows
from analysis.read.measured import choose, measure, select
from analysis.read.published import HEAD, REPRODUCTION, beside
from analysis.read.results import Results
from analysis.tables.commands import Situation, fill_command, situation
from analysis.tables.table import Material, Table, find_tables
from data.protocols import origin
from data.vocabulary import PIXELS
from probe.metrics import METRICS

NOTHING_MEASURED = "nothing measured"
_KEY = [name for name in HEAD if name != "levels"] + ["reads", "images"]


def compare(
    name: str,
    results: Results,
    *,
    measured: pd.DataFrame | None = None,
    backbone: Sequence[str] = (),
    levels: Sequence[str] = (),
) -> pd.DataFrame:
    """The table called `name`, for example "1", "2a" or "R2": one row per condition and cell.

    Columns: table, condition, `HEAD`, reads, model, images; all columns of `measure` about the
    score, NaN where it is missing; published_spc, published_mae, spc_difference, mae_difference
    (ours minus published); fill (the command that would measure it, or its missing seeds, or
    nothing). `measured` is `measure(results)`, for callers that have it.
    """
    if measured is None:
        measured = measure(results)
    table = find_tables()[name]
    return table.cells(table, Material(results, measured, tuple(backbone), tuple(levels)))


def joined(table: Table, material: Material) -> pd.DataFrame:
    """The cells of a table of readouts, as `compare` gives them."""
    measured, choice = material.measured, (material.backbone, material.levels)
    published = table.published_scores().pipe(label_rows)
    every = pd.concat([measured[["backbone", "levels", "reads"]], published], ignore_index=True)
    select(every, *choice)  # raises for a name that neither has
    wanted = choose(published, *choice)
    folder = material.results.folder
    pieces = []
    for condition, rows in _conditions(table, material):
        known = Situation(
            protocol=_protocol(table),
            results_dir=folder,
            score_transposed=table.score_transposed,
        )
        if not rows.empty:
            known = situation(rows, material.results)
        ours = _fitting(choose(rows, *choice), table, wanted)
        pieces.append(_join(table, condition, wanted, ours, known))
    return pd.concat(pieces, ignore_index=True)


def _protocol(table: Table) -> str:
    return "reproduction" if table.source == REPRODUCTION else "paper"


def _conditions(table: Table, material: Material) -> list[tuple[str, pd.DataFrame]]:
    """Conditions whose recipe is that of the source, with their rows; at least one.

    Where the source scored transposed images, and any of these did so too, only those.
    """
    measured, runs = material.measured, material.results.runs
    recipes = measured["protocol"].map(lambda name: origin(name)[0])
    reproduction = recipes == "reproduction"
    rows = measured[reproduction if table.source == REPRODUCTION else ~reproduction]
    if table.score_transposed:
        alike = rows["run"].map(lambda run: runs[run].cache.features.score_transposed).astype(bool)
        rows = rows[alike] if alike.any() else rows
    found = [(str(name), part) for name, part in rows.groupby("condition", sort=False)]
    return found or [(NOTHING_MEASURED, rows)]


def _fitting(rows: pd.DataFrame, table: Table, published: pd.DataFrame) -> pd.DataFrame:
    """Measured heads that belong in the table: those of the source, and their like."""
    fits = pd.Series(True, index=rows.index)
    for name, values in table.heads.items():
        fits &= rows[name].isin(values)
    rows = rows[fits]
    if not table.varied:
        return rows
    variants = rows.groupby("backbone")[list(table.varied)].nunique().max(axis=1)
    shown = {*published["backbone"], *variants.index[variants > 1]}
    return rows[rows["backbone"].isin(shown)]


def _join(
    table: Table, condition: str, published: pd.DataFrame, ours: pd.DataFrame, known: Situation
) -> pd.DataFrame:
    # A head that reads all levels of a backbone without f5 answers the published one that reads
    # five: the join is on `reads`.
    wanted = published[[*_KEY, "levels", *METRICS]].rename(columns={"levels": "published_levels"})
    cells = beside(wanted, ours.drop(columns="condition"), _KEY)
    cells["levels"] = cells["levels"].fillna(cells["published_levels"])
    cells["fill"] = [
        "" if _is_whole(row, known) else _command(table, row, known) for row in cells.itertuples()
    ]
    cells = label_rows(cells).assign(table=table.name, condition=condition)
    return _arrange(cells, table, published).drop(columns="published_levels")


def _is_whole(cell: Any, known: Situation) -> bool:
    """Whether as many networks and seeds are behind the cell as behind others of its condition."""
    networks = 1 if cell.backbone == PIXELS else max(1, len(known.every_seed))
    return (cell.n_networks, cell.n_readout_seeds) == (networks, known.seeds)


def _command(table: Table, cell: Any, known: Situation) -> str:
    head = None if table.swept else cell
    return fill_command(cell.backbone, cell.backbone_padding, cell.images, known, head)


def _arrange(cells: pd.DataFrame, table: Table, published: pd.DataFrame) -> pd.DataFrame:
    """Cells in the order of the source; what it lacks comes last in its group, sorted."""
    names = [*table.rows, table.column]
    order = {}
    for name in names:
        known = list(dict.fromkeys(published[name]))
        added = sorted(set(cells[name]) - set(known))
        ranks = {value: rank for rank, value in enumerate([*known, *added])}
        if name in ("depth", "kernel_size"):
            ranks = {value: value for value in ranks}
        order[name] = cells[name].map(ranks)
    return cells.loc[pd.DataFrame(order).sort_values(names).index].reset_index(drop=True)
