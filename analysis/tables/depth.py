"""Where in its backbone position sits: readouts of single levels by relative depth."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.labels import run_label
from analysis.read.measured import in_table_order
from analysis.read.results import Results
from data.cache.identity import Identity
from data.targets import pattern_names
from data.vocabulary import INPUT, PIXELS

SHAPE = ["kernel_size", "depth", "probe_padding"]  # of a readout


def by_depth(results: Results, measured: pd.DataFrame) -> pd.DataFrame:
    """Readouts of single levels on natural images: a row per run, shape, level and pattern.

    Columns: condition, run, n_networks, backbone, `SHAPE`, levels, tap (the node), layers (with
    weights, that have run at the tap), layers_in_all (that a whole pass runs, without its
    classifier), relative_depth (their ratio, NaN where unknown), pattern, spc, spc_low, spc_high,
    mae. The pixels stand at depth 0, in the shapes that a backbone was read with.
    """
    single = measured["levels"].str.fullmatch(r"f\d") | (measured["backbone"] == PIXELS)
    rows = measured[single & (measured["images"] == "test")]
    rows = in_table_order(rows.drop_duplicates(["run", *SHAPE, "levels", "pattern"]))
    tapped = rows[rows["backbone"] != PIXELS]
    rows = rows[rows.set_index(SHAPE).index.isin(tapped.set_index(SHAPE).index)]
    placed = [_place(results.runs[row.run].cache, str(row.levels)) for row in rows.itertuples()]
    placed = pd.DataFrame(placed, columns=["tap", "layers", "layers_in_all"], index=rows.index)
    placed["relative_depth"] = placed["layers"].astype(float) / placed["layers_in_all"]
    head = ["condition", "run", "n_networks", "backbone", *SHAPE, "levels"]
    scores = ["pattern", "spc", "spc_low", "spc_high", "mae"]
    parts = [rows[head], placed, rows[scores]]
    return pd.concat(parts, axis="columns").reset_index(drop=True)


def _place(identity: Identity, level: str) -> tuple[str, float, float]:
    if level == INPUT:
        return INPUT, 0.0, 1.0
    taps = dict(zip(_levels(identity), identity.taps, strict=False))
    layers = identity.layers_run.get(level, np.nan)
    whole = identity.layers_in_all
    return taps.get(level, ""), layers, np.nan if whole is None else whole


def _levels(identity: Identity) -> list[str]:
    return [level for level in identity.levels if level != INPUT]


def depth_table(results: Results, measured: pd.DataFrame) -> pd.DataFrame:
    """`by_depth` with one row per run, shape and level, and a column of SPC per pattern.

    Columns: run, `SHAPE`, levels, tap, layers ("10 of 13"), relative_depth, and the patterns.
    """
    rows = by_depth(results, measured)
    rows["run"] = [run_label(row) for row in rows.itertuples()]
    rows["layers"] = [
        "" if np.isnan(whole) else f"{layers:.0f} of {whole:.0f}"
        for layers, whole in rows[["layers", "layers_in_all"]].to_numpy(dtype=float)
    ]
    key = ["run", *SHAPE, "levels"]
    place = ["tap", "layers", "relative_depth"]
    table = rows.drop_duplicates(key)[[*key, *place]]
    for pattern in pattern_names():
        scores = rows.loc[rows["pattern"] == pattern, [*key, "spc"]]
        if len(scores):
            table = table.merge(scores.rename(columns={"spc": pattern}), how="left", on=key)
    return table.sort_values(SHAPE, kind="stable").reset_index(drop=True)
