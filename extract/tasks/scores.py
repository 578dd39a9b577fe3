"""Scores of trained networks on disk; needs no torch.

`results/FAMILY/RUN/` holds one training: its settings, its scores, its epochs, and what else its
task keeps. `results/FAMILY.csv` is the scores of all runs of a family together.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data.tools.errors import UserError
from data.tools.files import write_text, writing
from data.tools.locks import locked
from extract.tasks.config import TaskConfig

SETTINGS, SCORES, EPOCHS = "settings.json", "scores.csv", "epochs.csv"

# What is already written stays as it is, digit for digit.
_AS_TEXT: dict[str, Any] = {"dtype": str, "keep_default_na": False}


def joined_path(config: TaskConfig) -> Path:
    """Where the scores of all runs of the family lie."""
    return config.results_dir / f"{config.family}.csv"


def check_run(folder: Path, settings: Mapping[str, Any]) -> None:
    """Refuse the folder of another training (`UserError` that names what differs).

    Two checkpoints of one stem share a folder; only trainings of equal settings may, since they
    end in equal scores.
    """
    path = folder / SETTINGS
    if not path.exists():
        return
    try:
        found = dict(json.loads(path.read_text(encoding="utf-8")))
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}): --overwrite to begin again") from error
    refuse_others(folder, found, settings)


def begin_run(folder: Path, settings: Mapping[str, Any], *, overwrite: bool) -> None:
    """Say in the folder whose it is; with `overwrite` what an earlier training left goes first."""
    if overwrite:
        for ending in ("json", "csv", "npz"):
            for path in folder.glob(f"*.{ending}"):
                path.unlink()
    write_text(folder / SETTINGS, json.dumps(dict(settings), indent=1) + "\n")


def refuse_others(where: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise `UserError` with every setting that differs, if one does."""
    different = [
        f"{key}: {found.get(key)} there, {value} here"
        for key, value in wanted.items()
        if found.get(key) != value
    ]
    if different:
        raise UserError(
            f"{where} was trained with other settings ({'; '.join(different)}): "
            "choose another --out, or --overwrite it"
        )


def write_scores(config: TaskConfig, scores: pd.DataFrame) -> None:
    """Write the scores of a run, in place of earlier ones of the same test sets, and join all
    runs of the family.
    """
    path = config.folder / SCORES
    text = scores.assign(run=config.run).to_csv(index=False, float_format="%.6g")
    table = pd.read_csv(StringIO(text), **_AS_TEXT)
    if path.exists() and "test_set" in table:
        before = pd.read_csv(path, **_AS_TEXT)
        table = pd.concat([before[~before["test_set"].isin(table["test_set"])], table])
    write_table(path, table)
    joined = joined_path(config)
    with locked(joined.with_suffix("") / ".lock"):  # or one of two could join without the other
        paths = sorted(joined.with_suffix("").glob(f"*/{SCORES}"))
        write_table(joined, pd.concat([pd.read_csv(path, **_AS_TEXT) for path in paths]))


def write_table(path: Path, table: pd.DataFrame) -> Path:
    """Write a table as CSV, whole or not at all."""
    write_text(path, table.to_csv(index=False, float_format="%.6g"))
    return path


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> Path:
    """Write arrays as one .npz file, whole or not at all."""
    with writing(path) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return path
