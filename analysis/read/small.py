"""Scores of the small networks that `train-backbone` trains, and what was published of them."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pandas as pd

from data.tools.errors import UserError
from data.vocabulary import POOLED_CSV, RED_GREEN_CSV, ROOK_CSV, TARGETING_CSV, TASKS_CSV

PUBLISHED = resources.files("analysis") / "published" / "small_tables.csv"
# Of a results folder: what needs no readouts of position maps to be shown.
SMALL_CSVS = (ROOK_CSV, RED_GREEN_CSV, TARGETING_CSV, POOLED_CSV, TASKS_CSV)


def small_tables() -> pd.DataFrame:
    """The published values of small networks: source, table, padding, measure, metric, value."""
    with PUBLISHED.open(encoding="utf-8") as opened:
        return pd.read_csv(opened, keep_default_na=False)


def has_small(folder: Path) -> bool:
    """Whether the results hold any network that `train-backbone` scored."""
    return any((folder / name).exists() for name in SMALL_CSVS)


def read_small(path: Path, texts: list[str], numbers: list[str], task: str) -> pd.DataFrame:
    """Some columns of a table of scores, empty where there is none.

    Raises `UserError`, which names the task, when it lacks one or a value is no number.
    """
    if not path.exists():
        return pd.DataFrame(columns=[*texts, *numbers])
    try:
        table = pd.read_csv(
            path,
            dtype=dict.fromkeys(texts, str),  # a run may be called 7
            keep_default_na=False,
            na_values=dict.fromkeys(numbers, ""),
        )
        return table[[*texts, *numbers]].astype(dict.fromkeys(numbers, float))
    except (KeyError, ValueError) as error:
        raise UserError(
            f"{path} is damaged or of another version ({error}): remove it and run "
            f"train-backbone --task {task} again"
        ) from None
