"""What padding changes: runs that differ in nothing else, drawn on one scale."""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.claims.verdicts import UNTRUSTED
from analysis.labels import STATUS_LABELS
from analysis.read.measured import shape_label, shown_shape
from analysis.read.results import Results
from analysis.tables.cells import number
from analysis.tables.contrast import contrast, pairs
from analysis.write.report.scale import Scale, scale_of


def padding_effects(results: Results, measured: pd.DataFrame) -> dict[str, Any] | None:
    """Differences of the readouts that the figures show, by pair of runs; None without a pair."""
    if measured.empty or not pairs(results, "padding"):
        return None
    rows = contrast(results, measured, "padding")
    shape = shown_shape(measured)
    for name, value in shape.items():
        rows = rows[rows[name] == value]
    if rows.empty:
        return None
    same = (measured["images"] == "test") & (measured[list(shape)] == pd.Series(shape)).all(axis=1)
    ended = dict(measured[same].set_index(["run", "pattern"])["status"])
    scale = scale_of(rows[["low", "high"]].to_numpy(dtype=float).ravel())
    groups = [
        {
            "title": f"{more} minus {less}",
            "rows": [_effect(row, scale, ended) for row in part.itertuples()],
        }
        for (more, less), part in rows.groupby(["more", "less"], sort=False)
    ]
    return {"groups": groups, "ticks": scale.ticks, "shape": shape_label(shape)}


def _effect(row: Any, scale: Scale, ended: dict[Any, str]) -> dict[str, Any]:
    found = dict.fromkeys(ended[run, row.pattern] for run in (row.more, row.less))
    untrusted = [STATUS_LABELS[status] for status in found if status in UNTRUSTED]
    ends = f"{number(row.low, signed=True)} to {number(row.high, signed=True)}"
    sure = not untrusted and (row.low > 0 or row.high < 0)
    return {
        "pattern": row.pattern,
        "difference": number(row.difference, signed=True),
        "interval": ends,
        "sure": sure,
        "note": f"a readout: {', '.join(untrusted)}: judge nothing by it" if untrusted else "",
        "images": row.n_images,
        "plot": {
            "low": scale.place(row.low),
            "high": scale.place(row.high),
            "mean": scale.place(row.difference),
            "paper": None,
            "words": f"{row.pattern}: difference {number(row.difference, signed=True)}, "
            f"95 % interval {ends}",
        },
    }
