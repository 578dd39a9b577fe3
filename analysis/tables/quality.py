"""Tables that no source has: what scores rest on, how many images it takes, relative depth."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pandas as pd

from analysis.read.networks import replicates
from analysis.read.results import Results
from analysis.tables.depth import by_depth, depth_table
from data.targets import pattern_names
from probe.metrics import METRICS
from probe.results import PROBE

READOUT = ["run", "pattern", "levels", "kernel_size", "depth", "probe_padding"]
_MEANS = ["spc", "r2", "control_spc", "selectivity", "optimum_gap", "heldout_loss"]
_NAMES = {
    PROBE: "kind",
    "run": "run",
    "pattern": "pattern",
    "levels": "levels",
    "kernel_size": "kernel",
    "depth": "depth",
    "probe_padding": "padding",
    "n_train": "images",
    "spc": "SPC",
    "mae": "MAE",
    "r2": "R2",
    "control_spc": "control SPC",
    "selectivity": "selectivity",
    "optimum_gap": "above optimum",
    "heldout_loss": "held-out loss",
    "tap": "tap",
    "layers": "layers",
    "relative_depth": "relative depth",
}
_UNDEFINED = "–"


def readout_quality(results: Results) -> pd.DataFrame:
    """One row per run and readout (seeds and networks together) on natural images.

    Columns: `READOUT`, spc, r2, control_spc, selectivity, optimum_gap and heldout_loss, means over
    seeds, NaN where not defined or not measured (docs/methods.md).
    """
    rows = results.scores[results.scores["images"] == "test"]
    rows = rows.assign(run=rows["run"].map(replicates(results)))
    return rows.groupby(READOUT, sort=False, as_index=False)[_MEANS].mean()


def learning_curves(results: Results) -> pd.DataFrame:
    """SPC, MAE and loss on the test images by number of training images, where it was measured.

    Columns: `READOUT`, n_train, spc, mae, heldout_loss, means over seeds and networks.
    """
    heads = results.scores[["head", *READOUT]].drop_duplicates(["run", "head"])
    curves = results.curves.merge(heads, on=["run", "head"], validate="m:1")
    curves = curves.assign(run=curves["run"].map(replicates(results)))
    values = ["spc", "mae", "heldout_loss"]
    return curves.groupby([*READOUT, "n_train"], sort=False, as_index=False)[values].mean()


@dataclass(frozen=True)
class QualityTable:
    """One table of this module."""

    name: str  # of its files, without ending
    title: str
    rows: pd.DataFrame
    notes: tuple[str, ...] = ()  # below the title


def quality_tables(results: Results, measured: pd.DataFrame) -> list[QualityTable]:
    """The tables of this module that have rows, of the readouts in `measured`."""
    found = [
        QualityTable("readouts", "What the scores rest on", readout_quality(results)),
        QualityTable("learning_curve", "How many images it takes", learning_curves(results)),
    ]
    kept = measured[READOUT].drop_duplicates()
    tables = [replace(table, rows=table.rows.merge(kept, on=READOUT)) for table in found]
    tables.append(comparison(results, measured))
    tables.append(other_kinds(results))
    return [table for table in tables if len(table.rows)]


def comparison(results: Results, measured: pd.DataFrame) -> QualityTable:
    """SPC of every single level by its relative depth in its backbone, all backbones together."""
    runs = by_depth(results, measured).drop_duplicates("run").groupby("condition", sort=False)
    notes = tuple(f"{condition}: {', '.join(part['run'])}." for condition, part in runs)
    rows = depth_table(results, measured)
    return QualityTable("compare", "Single levels by relative depth", rows, notes)


def other_kinds(results: Results) -> QualityTable:
    """One row per run and readout (seeds together) of another kind than dense maps, test images.

    Columns: probe, `READOUT`, then those that the kinds score, means over seeds.
    """
    rows = results.others
    if len(rows):
        rows = rows[rows["images"] == "test"]
        own = [name for name in rows if name not in {*results.scores, PROBE} - set(METRICS)]
        shown = [*own, "control_spc", "selectivity"]
        rows = rows.groupby([PROBE, *READOUT], sort=False, as_index=False)[shown].mean()
    return QualityTable("probes", "Readouts of other kinds", rows)


def quality_lines(table: QualityTable) -> list[list[str]]:
    """A table as texts, header first; columns without any value are left out."""
    shown = table.rows.dropna(axis="columns", how="all")
    lines = [[_name(str(name)) for name in shown]]
    for row in shown.to_dict("records"):
        lines.append([_text(str(name), value) for name, value in row.items()])
    return lines


def _name(column: str) -> str:
    return f"SPC {column}" if column in pattern_names() else _NAMES.get(column, column)


def _text(name: str, value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    if pd.isna(value):
        return _UNDEFINED
    return f"{100 * value:.1f} %" if name == "optimum_gap" else f"{value:.4g}"
