"""Scores of trained backbones on disk; needs no torch.

`results/tasks/<run>/` holds one training: its scores, its epochs, and how its predictions follow a
moving crop. `results/tasks.csv` is the scores of all together, a row per test set and metric.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data.tools.files import write_text, writing
from data.vocabulary import TASKS_CSV

SCORES, EPOCHS = "scores.csv", "epochs.csv"
SHIFTS, CROPS = "shifts.csv", "crops.npz"
TASK_COLUMNS = [
    *("task", "model", "padding", "train_set", "test_set", "metric", "value", "seed", "levels"),
    *("image_size", "normalization", "n_train", "n_test", "epochs", "best_epoch", "precision"),
    "run",
]


def run_folder(results_dir: Path, run: str) -> Path:
    """Where all of one training lies; made if needed."""
    folder = results_dir / "tasks" / run
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_scores(results_dir: Path, run: str, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write the scores of a run, in place of earlier ones, and join all runs in `tasks.csv`."""
    table = pd.DataFrame([{**row, "run": run} for row in rows])[TASK_COLUMNS]
    write_table(run_folder(results_dir, run) / SCORES, table)
    paths = sorted(results_dir.glob(f"tasks/*/{SCORES}"))
    # Read as text: what is already written stays as it is, digit for digit.
    tables = [pd.read_csv(path, dtype=str, keep_default_na=False) for path in paths]
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
