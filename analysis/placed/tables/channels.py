"""Table C: what is left of a readout without its foremost channels, beside random ones.

Random: the mean over the draws; in place of an interval one standard deviation either way.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.placed.cells import as_cells, chosen
from analysis.placed.read import read_ablations
from analysis.tables.table import Material, Table

VALUE = "ablation_percent"
_HEADS = {
    "kept": "head kept",
    "re-solved": "solved again without them",
    "alone": "solved from them alone",
}


def ablation_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Ablations in percent: a row for the top channels and one for the mean of random draws."""
    shared = rows.assign(
        condition=pd.Series(
            [_condition(row) for row in rows.itertuples()], rows.index, dtype=object
        ),
        head=rows["head"].map(_HEADS),
        n_images=rows["n_test"],
        **{f"{VALUE}_low": np.nan, f"{VALUE}_high": np.nan},
    )
    top = shared.assign(which="top", **{VALUE: 100 * rows["value"].astype(float)})
    deviation = 100 * rows["random_sd"].astype(float)
    mean = 100 * rows["random"].astype(float)
    random = shared.assign(
        which="random",
        **{VALUE: mean, f"{VALUE}_low": mean - deviation, f"{VALUE}_high": mean + deviation},
    )
    both = pd.concat([top, random]).sort_index(kind="stable")
    whole = both[both["ablated"] == 0]  # the readout as it is: the same for every way of losing
    rest = both[both["ablated"] > 0]
    heads = rest[["run", "level", "pooling", "rank", "fill", "task", "head", "which"]]
    key = ["run", "level", "pooling", "rank", "fill", "task", "which"]
    left = heads[heads["head"] != _HEADS["alone"]].drop_duplicates()
    begin = whole.drop(columns="head").merge(left, on=key)
    return pd.concat([begin, rest], ignore_index=True)


def _condition(row: Any) -> str:
    pooled = "aligned maps" if row.pooling == "none" else f"{row.pooling}-pooled"
    filled = "their training mean" if row.fill == "mean" else "zero"
    return (
        f"{row.level} ({row.channels} channels), {pooled}, ranked by {row.rank}, removed channels "
        f"at {filled}; {row.metric} on {row.n_test} test images or patches, seed {row.seed}"
    )


def _cells(table: Table, material: Material) -> pd.DataFrame:
    ours = ablation_rows(chosen(read_ablations(material.results.folder), material))
    return as_cells(table, ours, ours.iloc[:0], lambda cell: "")


C = Table(
    "C",
    "Table C. Readouts without their foremost channels, and without as many random ones",
    ("network", "task", "head", "which"),
    "ablated",
    _cells,
    metrics=(VALUE,),
    of_maps=False,
    is_filled=lambda material: not read_ablations(material.results.folder).empty,
)
