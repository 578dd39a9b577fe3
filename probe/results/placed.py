"""The files of placed studies in a results folder; needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from data.tools.files import write_bytes
from data.tools.locks import locked
from probe.results.tables import as_text, csv_bytes, read_rows

# A row for each network, level, pooling, task, reading, solver and ring (empty: all cells).
PLACED = "placed.csv"
PLACED_COLUMNS = [
    *("study", "backbone", "weights", "backbone_padding", "level", "pooling", "task", "reading"),
    *("solver", "grid", "border", "canvas", "patches", "patch_size", "accuracy", "chance", "low"),
    *("high", "ring", "n_train_patches", "n_test_patches", "permutations", "seed", "run", "gap"),
    "calibration",
]
# The same for each test patch, named by `PLACED_KEY` and `patch`: what intervals resample.
PLACED_PATCHES = "placed_patches.csv"
PLACED_KEY = ["run", "level", "pooling", "task", "reading", "solver", "ring"]

CHANNELS = "channels.csv"  # a row for each channel: how much of it is of the place
ABLATIONS = "ablations.csv"  # what is left of a readout without its foremost channels
CONSISTENCY = "consistency.csv"  # relative change of pooled vectors under small shifts
SEGMENTATION = "segmentation.csv"  # intersection over union of targets that differ by image


def replace_runs(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Let a table have `rows` instead of those of their runs; other runs keep theirs."""
    new = as_text(rows)
    with locked(path.with_name(f".{path.name}.lock")):
        before = read_rows(path)
        kept = before[~before["run"].isin(new["run"])] if "run" in before else before.iloc[:0]
        table = pd.concat([kept, new]).reindex(columns=new.columns).fillna("")
        write_bytes(path, csv_bytes(table.sort_values("run", kind="stable")))
    return path
