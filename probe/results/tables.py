"""The tables of a run: their names, their columns, and text that stays as it was written."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from probe.metrics import METRICS

SCORES, IMAGE_SCORES, LOSSES = "scores.csv", "image_scores.csv", "losses.csv"
CURVE = "learning_curve.csv"
RUN, HEADS = "run.json", "heads.h5"

SCORE_COLUMNS = [
    *("pattern", "backbone", "weights", "backbone_padding", "levels", "kernel_size", "depth"),
    *("probe_padding", "images", "spc", "mae", "protocol", "normalization", "seed", "n_images"),
    *("n_undefined", "status", "learning_rate", "epochs", "train_loss", "heldout_loss"),
    *("run", "head"),
    # Empty where they are not defined, or were not asked for (docs/methods.md).
    *("r2", "control_spc", "selectivity", "optimum_gap", "ridge"),
]
# The kind of a readout, where it is not the paper's; such rows have columns of their own, and
# neither `spc` nor `mae` unless the kind gives them.
PROBE = "probe"


def all_columns(tables: Iterable[pd.DataFrame]) -> list[str]:
    """Every column of some runs' scores: `SCORE_COLUMNS`, metrics, then those of other kinds."""
    found = (str(name) for table in tables for name in table)
    return list(dict.fromkeys([*SCORE_COLUMNS, *METRICS, *found]))


def read_rows(path: Path) -> pd.DataFrame:
    """One of a run's tables as text, so that what is written stays as it is, digit for digit.

    Without such a file, a table without rows.
    """
    if not path.exists():
        return pd.DataFrame({"head": []}, dtype=str)
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def as_text(rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Rows as they will be written: numbers with six digits, nothing where they are undefined."""
    table = pd.DataFrame(rows)
    return table.apply(lambda column: column.map(_text))


def replaced(table: pd.DataFrame, heads: set[str], rows: pd.DataFrame) -> pd.DataFrame:
    """`table` with `rows` instead of those of `heads`, the heads in the order of their names.

    So the order does not depend on which of them were trained first.
    """
    kept = table[~table["head"].isin(heads)]
    return pd.concat([kept, rows]).fillna("").sort_values("head", kind="stable")


def csv_bytes(table: pd.DataFrame) -> bytes:
    """A table of texts as a CSV file, UTF-8."""
    lines = io.StringIO(newline="")
    for cells in [list(table.columns), *table.itertuples(index=False)]:
        lines.write(",".join(_cell(text) for text in cells) + "\n")
    # Names of files may hold bytes that are no UTF-8: they are spelled out.
    return lines.getvalue().encode("utf-8", "backslashreplace")


def _text(value: Any) -> str:
    if isinstance(value, float):  # NumPy's too
        return "" if value != value else f"{value:.6g}"
    return str(value)


def _cell(text: str) -> str:
    quoted = any(sign in text for sign in ',"\r\n')
    return '"' + text.replace('"', '""') + '"' if quoted else text
