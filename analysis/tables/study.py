"""The user's own table: every readout measured, whatever its backbone."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.labels import label_rows, run_label
from analysis.read.measured import in_table_order
from analysis.read.published import HEAD
from analysis.tables.table import Material, Table
from probe.metrics import METRICS


def study(measured: pd.DataFrame) -> pd.DataFrame:
    """Every measured readout on natural images, in the order of table 4 and of the levels.

    The columns are those of `analysis.tables.compare.compare`; nothing is published of it, and
    nothing is missing.
    """
    rows = measured[measured["images"] == "test"].drop_duplicates(["run", *HEAD])
    rows = in_table_order(rows.sort_values(["kernel_size", "depth", "probe_padding", "levels"]))
    rows = rows.assign(run=[run_label(row) for row in rows.itertuples()])
    empty = [name for m in METRICS for name in (f"published_{m}", f"{m}_difference")]
    named = rows.assign(table=STUDY.name, condition="every run of these results", fill="")
    return label_rows(named).assign(**dict.fromkeys(empty, np.nan)).reset_index(drop=True)


def _cells(table: Table, material: Material) -> pd.DataFrame:
    return study(material.chosen)


STUDY = Table(
    "study",
    "Every readout measured, side by side (natural images)",
    ("run", "reads", "kernel_size", "depth", "probe_padding"),
    "pattern",
    _cells,
    printed=False,
)
