"""Scores of trained backbones on disk; needs no torch.

`results/tasks/<run>/` holds one training: its settings, its scores, its epochs, and how its
predictions follow a moving crop. `results/tasks.csv` is the scores of all together, a row per test
set and metric.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data.tools.errors import UserError
from data.tools.files import write_text, writing
from data.tools.locks import locked
from data.vocabulary import TASKS_CSV

SETTINGS, SCORES, EPOCHS = "settings.json", "scores.csv", "epochs.csv"
SHIFTS, CROPS = "shifts.csv", "crops.npz"
TASK_COLUMNS = [
    *("task", "model", "padding", "train_set", "test_set", "metric", "value", "seed", "levels"),
    *("image_size", "normalization", "mirror", "n_train", "n_test", "epochs", "best_epoch"),
    *("precision", "run"),
]

# What is already written stays as it is, digit for digit.
_AS_TEXT: dict[str, Any] = {"dtype": str, "keep_default_na": False}


def run_folder(results_dir: Path, run: str) -> Path:
    """Where all of one training lies; made if needed."""
    folder = results_dir / "tasks" / run
    folder.mkdir(parents=True, exist_ok=True)
    return folder


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
        for name in (SETTINGS, SCORES, EPOCHS, f"*-{SHIFTS}", f"*-{CROPS}"):
            for path in folder.glob(name):
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


def write_scores(results_dir: Path, run: str, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write the scores of a run, in place of earlier ones of the same test sets, and join all
    runs in `tasks.csv`.
    """
    table = pd.DataFrame([{**row, "run": run} for row in rows], columns=TASK_COLUMNS)
    path = run_folder(results_dir, run) / SCORES
    text = table.to_csv(index=False, float_format="%.6g")
    table = pd.read_csv(StringIO(text), **_AS_TEXT)
    if path.exists():
        before = pd.read_csv(path, **_AS_TEXT)
        table = pd.concat([before[~before["test_set"].isin(table["test_set"])], table])
    write_table(path, table)
    with locked(results_dir / "tasks" / ".lock"):  # or one of two could join without the other
        paths = sorted(results_dir.glob(f"tasks/*/{SCORES}"))
        tables = [pd.read_csv(path, **_AS_TEXT) for path in paths]
        return write_table(results_dir / TASKS_CSV, pd.concat(tables))


def write_table(path: Path, table: pd.DataFrame) -> Path:
    """Write a table as CSV, whole or not at all."""
    write_text(path, table.to_csv(index=False, float_format="%.6g"))
    return path


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> Path:
    """Write arrays as one .npz file, whole or not at all."""
    with writing(path) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return path
