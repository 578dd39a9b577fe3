"""CSV files of results, every value checked: a fault is named with its file and row."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data.tools.errors import UserError
from data.vocabulary import IMAGE_SET_NAME, POOLED_CSV, SCORED_SETS
from probe.metrics import METRICS
from probe.results import RUN

MEAN_TOLERANCE = 2e-5  # scores are written with six digits


@dataclass(frozen=True)
class Kind:
    """What a column may hold."""

    name: str
    convert: Callable[[str], Any]
    allows: Callable[[Any], bool] = lambda value: True


def _number(text: str) -> float:
    return float(text) if text else np.nan


def _is_scored_set(name: str) -> bool:
    return name != "train" and re.fullmatch(IMAGE_SET_NAME, name) is not None


SCORED_SET = Kind(
    "one of " + ", ".join(SCORED_SETS) + ", or another name of a scored image set",
    str,
    _is_scored_set,
)


def among(*choices: str) -> Kind:
    """One of some texts."""
    return Kind("one of " + ", ".join(choices), str, lambda value: value in choices)


def whole(least: int) -> Kind:
    """A whole number of at least `least`."""
    return Kind(f"a whole number of at least {least}", int, lambda value: value >= least)


TEXT = Kind("a text", str, bool)
SPC = Kind(
    "a number from -1 to 1, or empty where undefined",
    _number,
    lambda value: np.isnan(value) or abs(value) <= 1 + MEAN_TOLERANCE,
)
# A diverged head has no finite error.
MAE = Kind("a number of at least 0", _number, lambda value: np.isnan(value) or value >= 0)
LOSS = Kind("a number", _number)


def more_metrics() -> dict[str, Kind]:
    """Columns of the metrics besides SPC and MAE, which older results lack."""
    return {name: _within(m.bounds) for name, m in METRICS.items() if name not in ("spc", "mae")}


def _within(bounds: tuple[float, float]) -> Kind:
    low, high = bounds

    def allows(value: float) -> bool:
        return bool(np.isnan(value) or low - MEAN_TOLERANCE <= value <= high + MEAN_TOLERANCE)

    return Kind(f"a number from {low:g} to {high:g}, or empty where undefined", _number, allows)


def read_csv(
    path: Path,
    columns: dict[str, Kind],
    *,
    key: list[str],
    optional: dict[str, Kind] | None = None,
) -> pd.DataFrame:
    """The columns of a file, as `checked` gives them; `UserError` also where it is missing."""
    return checked(path, read_texts(path), columns, key=key, optional=optional)


def checked(
    path: Path,
    text: pd.DataFrame,
    columns: dict[str, Kind],
    *,
    key: list[str],
    optional: dict[str, Kind] | None = None,
) -> pd.DataFrame:
    """The columns of `text`, which `path` holds; `optional` ones are empty where it lacks them.

    Raises `UserError` for a missing column, a value that is not of its kind, and a row (named by
    `key`) that is there twice. The index is kept: it numbers the rows of the file.
    """
    missing = [name for name in columns if name not in text]
    if missing:
        raise UserError(
            f"{path}, row 1: no column {', '.join(missing)}; another version wrote it or it was "
            f"edited: {remedy(path)}"
        )
    kinds = {**columns, **(optional or {})}
    text = text.assign(**{name: "" for name in optional or {} if name not in text})
    table = pd.DataFrame({name: _convert(path, text[name], kinds[name]) for name in kinds})
    repeated = table.duplicated(key)
    if repeated.any():
        row = repeated.idxmax()
        named = ", ".join(str(table.loc[row, name]) for name in key)
        raise UserError(f"{path}, row {row_number(row)}: {named} is there twice: {remedy(path)}")
    return table


def read_texts(path: Path) -> pd.DataFrame:
    """A file as it is written, every value a text; `UserError` where it is none or missing."""
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except FileNotFoundError:
        raise UserError(
            f"{path} is missing, so the results are half written: run train-probes again"
        ) from None
    except (ValueError, pd.errors.ParserError) as error:
        raise UserError(f"cannot read {path} ({error}): {remedy(path)}") from None


def remedy(path: Path) -> str:
    """What mends a damaged file: that of a run comes from training, the scores of all from runs."""
    if path.name == RUN or (path.parent / RUN).exists():
        return f"restore the file, or remove {path.parent} and run train-probes again"
    command = "train-backbone" if path.name == POOLED_CSV else "train-probes"
    return f"restore the file, or remove it and run {command} again, which makes it of the runs"


def _convert(path: Path, texts: pd.Series, kind: Kind) -> pd.Series:
    # Few different values fill many rows: convert each once.
    values: dict[str, Any] = {}
    for text in texts.unique():
        try:
            values[text] = kind.convert(text)
            good = kind.allows(values[text])
        except ValueError:
            good = False
        if not good:
            row = row_number((texts == text).idxmax())
            raise UserError(
                f"{path}, row {row}: {texts.name} is {text!r}, not {kind.name}: {remedy(path)}"
            )
    return texts.map(values)


def row_number(index: Any) -> int:
    """As a spreadsheet counts: the header is row 1."""
    return int(index) + 2
