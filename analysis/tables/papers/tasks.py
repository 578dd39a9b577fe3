"""Tables 5a and 5b: backbones trained for a task, scored at it by `train-backbone`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from analysis.read.published import PAPER, task_tables
from analysis.tables.compare import NOTHING_MEASURED
from analysis.tables.table import Material, Table
from data.tools.errors import UserError
from data.vocabulary import TASKS_CSV

# One block of table 5 for each of these: what moves the scores besides the padding.
_RECIPE = [
    *("train_set", "n_train", "image_size", "levels", "epochs", "normalization", "mirror"),
    "precision",
]
_COLUMNS = ["task", "model", "padding", "test_set", "metric", "value", "seed", "n_test", "run"]

_COMMANDS = {
    "5a": "train-backbone --task saliency --padding {padding} --data MSRA10K --test ECSSD "
    "--test PASCAL-S --test DUT-OMRON --out backbones/saliency-{padding}.pt",
    "5b": "train-backbone --task segmentation --padding {padding} --data VOC "
    "--out backbones/segmentation-{padding}.pt",
}


def read_tasks(folder: Path) -> pd.DataFrame:
    """The scores in `tasks.csv`, empty where there are none.

    Raises `UserError` when it lacks a column or a value is no number.
    """
    path = folder / TASKS_CSV
    if not path.exists():
        return pd.DataFrame(columns=[*_COLUMNS, *_RECIPE])
    try:
        table = pd.read_csv(
            path,
            dtype=dict.fromkeys(("model", "train_set", "test_set", "run"), str),  # may be called 7
            keep_default_na=False,
            na_values={"value": ""},
        )
        table["value"] = table["value"].astype(float)
        return table[[*_COLUMNS, *_RECIPE]]
    except (KeyError, ValueError) as error:
        raise UserError(
            f"{path} is damaged or of another version ({error}): remove it and run "
            "train-backbone again, which scores what is trained"
        ) from None


def table_5(name: str, tasks: pd.DataFrame) -> pd.DataFrame:
    """Table "5a" or "5b" of what `read_tasks` gives: one row per recipe, padding and test set.

    Columns: table, condition, padding, test_set, n_seeds, n_images, and for every metric of the
    table our mean over seeds, *_sd (over seeds), published_* and *_difference; fill.
    """
    table = {"5a": TABLE_5A, "5b": TABLE_5B}[name]
    published = task_tables().query("table == @name")
    ours = _of_table(name, tasks)
    ours = ours[ours["metric"].isin(table.metrics)]
    blocks = [(_recipe(rows), rows) for _, rows in ours.groupby(_RECIPE, sort=False)]
    pieces = [
        _block(table, condition, rows, published)
        for condition, rows in blocks or [(NOTHING_MEASURED, ours)]
    ]
    return pd.concat(pieces, ignore_index=True)


def _cells(table: Table, material: Material) -> pd.DataFrame:
    return table_5(table.name, read_tasks(material.results.folder))


def _of_table(name: str, tasks: pd.DataFrame) -> pd.DataFrame:
    """The scores of the task and model that a table is about."""
    first = task_tables().query("table == @name").iloc[0]
    return tasks[(tasks["task"] == first["task"]) & (tasks["model"] == first["model"])]


def _recipe(rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    images = "images, mirrored at random," if first["mirror"] else "images"
    return (
        f"trained on {first['n_train']} {images} of {first['train_set']}, "
        f"{first['image_size']}x{first['image_size']}, decoder on {first['levels']}, "
        f"{first['epochs']} epochs, normalization {first['normalization']}, {first['precision']}"
    )


def _block(
    table: Table, condition: str, ours: pd.DataFrame, published: pd.DataFrame
) -> pd.DataFrame:
    key = ["padding", "test_set"]
    wide = published.pivot(index=key, columns="metric", values="value").add_prefix("published_")
    means = ours.pivot_table(index=key, columns="metric", values="value", aggfunc="mean")
    spread = ours.pivot_table(index=key, columns="metric", values="value", aggfunc="std")
    counts = ours.groupby(key).agg(n_seeds=("seed", "nunique"), n_images=("n_test", "first"))
    cells = wide.join([means, spread.add_suffix("_sd"), counts], how="outer").reset_index()
    for metric in table.metrics:
        for column in (metric, f"{metric}_sd"):
            cells[column] = cells.get(column, np.nan)
        cells[f"{metric}_difference"] = cells[metric] - cells[f"published_{metric}"]
        cells[[f"{metric}_low", f"{metric}_high"]] = np.nan
    command = _COMMANDS[table.name]
    cells["fill"] = [
        command.format(padding=row.padding) if np.isnan(row.n_seeds) else ""
        for row in cells.itertuples()
    ]
    order = cells["padding"].map(lambda padding: {"none": 0, "zeros": 1}.get(padding, 2))
    known = {name: rank for rank, name in enumerate(dict.fromkeys(published["test_set"]))}
    place = cells["test_set"].map(lambda name: known.get(name, len(known)))
    cells = cells.iloc[np.lexsort((place, cells["padding"], order))]
    return cells.assign(table=table.name, condition=condition, status="converged", n_undefined=0)


TABLE_5A = Table(
    "5a",
    "VGG16 trained for saliency, with and without padding",
    ("padding",),
    "test_set",
    _cells,
    PAPER,
    ", trained on MSRA",
    metrics=("f_measure", "mae"),
    of_maps=False,
    is_filled=lambda material: "saliency" in set(read_tasks(material.results.folder)["task"]),
)

TABLE_5B = Table(
    "5b",
    "VGG16 trained for segmentation, with and without padding",
    ("padding",),
    "test_set",
    _cells,
    PAPER,
    ", trained on VOC 2012",
    metrics=("miou_percent",),
    of_maps=False,
    is_filled=lambda material: "segmentation" in set(read_tasks(material.results.folder)["task"]),
)
