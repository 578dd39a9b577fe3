"""Tables 5 and 6: backbones trained for a task, and the position in them.

`train-backbone` writes `tasks.csv`, the scores of table 5. Table 6 sets heads on the backbones it
trained beside heads on the same backbone with other weights, which the other tables keep apart.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.read.intervals import bootstrap_intervals
from analysis.read.measured import BOUNDS, METRICS, image_values
from analysis.read.published import HEAD, task_tables
from analysis.read.results import Results
from analysis.tables.compare import published_scores
from analysis.tables.layouts import TABLE_6, TASK_LAYOUTS, Layout
from data.tools.errors import UserError
from data.vocabulary import SCORED_SETS, STATUSES, TASKS, TASKS_CSV

NOTHING_MEASURED = "nothing measured"
# One block of table 5 for each of these: what moves the scores besides the padding.
_RECIPE = ["train_set", "n_train", "image_size", "levels", "epochs", "normalization", "precision"]
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
        table = pd.read_csv(path, keep_default_na=False, na_values={"value": ""})
        table["value"] = table["value"].astype(float)
        return table[[*_COLUMNS, *_RECIPE]]
    except (KeyError, ValueError) as error:
        raise UserError(
            f"{path} is damaged or of another version ({error}): remove it and run "
            "train-backbone again, which scores what is trained"
        ) from None


def table_5(name: str, tasks: pd.DataFrame) -> pd.DataFrame:
    """Table "5a" or "5b": one row per recipe, padding and test set.

    Columns: table, condition, padding, test_set, n_seeds, n_images, and for every metric of the
    table our mean over seeds, *_sd (over seeds), published_* and *_difference; fill.
    """
    layout = TASK_LAYOUTS[name]
    every = task_tables()
    published = every[every["table"] == name]
    task, model = published["task"].iloc[0], published["model"].iloc[0]
    ours = tasks[(tasks["task"] == task) & (tasks["model"] == model)]
    ours = ours[ours["metric"].isin(layout.metrics)]
    blocks = [(_recipe(rows), rows) for _, rows in ours.groupby(_RECIPE, sort=False)]
    pieces = [
        _block(layout, condition, rows, published)
        for condition, rows in blocks or [(NOTHING_MEASURED, ours)]
    ]
    return pd.concat(pieces, ignore_index=True)


def table_6(results: Results, measured: pd.DataFrame) -> pd.DataFrame:
    """Table 6: one row per recipe, pattern, weights and image set.

    Backbones trained from several seeds ("saliency", "saliency-seed1", ...) are one row: means
    over backbones, intervals over images of that mean, standard deviations over the backbones.
    The columns are those of `analysis.tables.compare.compare`.
    """
    rows = _table_6_heads(measured)
    values = image_values(results)
    pieces = [
        _position_block(str(condition), part, values)
        for condition, part in rows.groupby("recipe", sort=False)
    ]
    return pd.concat(pieces or [_position_block(NOTHING_MEASURED, rows, values)])


def has_trained(measured: pd.DataFrame) -> bool:
    """Whether heads were trained on a backbone of train-backbone."""
    return bool(_table_6_heads(measured)["weights"].isin(TASKS).any())


def _recipe(rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    return (
        f"trained on {first['n_train']} images of {first['train_set']}, "
        f"{first['image_size']}x{first['image_size']}, decoder on {first['levels']}, "
        f"{first['epochs']} epochs, normalization {first['normalization']}, {first['precision']}"
    )


def _block(
    layout: Layout, condition: str, ours: pd.DataFrame, published: pd.DataFrame
) -> pd.DataFrame:
    key = ["padding", "test_set"]
    wide = published.pivot(index=key, columns="metric", values="value").add_prefix("published_")
    means = ours.pivot_table(index=key, columns="metric", values="value", aggfunc="mean")
    spread = ours.pivot_table(index=key, columns="metric", values="value", aggfunc="std")
    counts = ours.groupby(key).agg(n_seeds=("seed", "nunique"), n_images=("n_test", "first"))
    table = wide.join([means, spread.add_suffix("_sd"), counts], how="outer").reset_index()
    for metric in layout.metrics:
        for column in (metric, f"{metric}_sd"):
            table[column] = table.get(column, np.nan)
        table[f"{metric}_difference"] = table[metric] - table[f"published_{metric}"]
        table[[f"{metric}_low", f"{metric}_high"]] = np.nan
    command = _COMMANDS[layout.name]
    table["fill"] = [
        command.format(padding=row.padding) if np.isnan(row.n_seeds) else ""
        for row in table.itertuples()
    ]
    order = table["padding"].map(lambda padding: {"none": 0, "zeros": 1}.get(padding, 2))
    known = {name: rank for rank, name in enumerate(dict.fromkeys(published["test_set"]))}
    place = table["test_set"].map(lambda name: known.get(name, len(known)))
    table = table.iloc[np.lexsort((place, table["padding"], order))]
    return table.assign(table=layout.name, condition=condition, status="converged", n_undefined=0)


def _table_6_heads(measured: pd.DataFrame) -> pd.DataFrame:
    """The heads of table 6, with the weights as the table calls them and the recipe of the rest."""
    fits = pd.Series(True, index=measured.index)
    for name, values in TABLE_6.heads.items():
        fits &= measured[name].isin(values)
    rows = measured[fits]
    # A condition says first what the weights are; a label, from which seed they were trained.
    recipe = rows["condition"].map(lambda text: text.partition("; ")[2])
    weights = rows["weights"].map(lambda label: re.sub(r"-seed\d+$", "", label))
    return rows.assign(recipe=recipe, weights=weights, backbone_weights=rows["weights"])


def _position_block(condition: str, rows: pd.DataFrame, values: pd.DataFrame) -> pd.DataFrame:
    key = ["pattern", "weights", "images"]
    ours = rows.groupby(key, sort=False, as_index=False).agg(
        n_seeds=("backbone_weights", "nunique"),
        n_images=("n_images", "first"),
        n_undefined=("n_undefined", "sum"),
        status=("status", lambda status: max(status, key=STATUSES.index)),  # worst last
        **{name: (name, "mean") for name in METRICS},
        **{f"{name}_sd": (name, "std") for name in METRICS},
    )
    heads = rows[["run", *HEAD, "images", "weights"]]
    images = values.merge(heads, on=["run", *HEAD, "images"])
    by_image = images.groupby([*key, "image"], as_index=False)[list(METRICS)].mean()
    for metric in METRICS:
        wide = by_image.pivot(index="image", columns=key, values=metric)
        ends = np.clip(bootstrap_intervals(wide.to_numpy()), *BOUNDS[metric])
        found = wide.columns.to_frame(index=False)
        found[[f"{metric}_low", f"{metric}_high"]] = ends
        ours = ours.merge(found, on=key, how="left")
    published = published_scores("6")[[*key, *METRICS]]
    published = published.rename(columns={name: f"published_{name}" for name in METRICS})
    table = published.merge(ours, on=key, how="outer")
    for metric in METRICS:
        table[f"{metric}_difference"] = table[metric] - table[f"published_{metric}"]
    table["fill"] = [
        _position_command(row.weights) if np.isnan(row.n_seeds) else ""
        for row in table.itertuples()
    ]
    ranks = {
        "pattern": {name: rank for rank, name in enumerate(TABLE_6.heads["pattern"])},
        "weights": {name: rank for rank, name in enumerate(("random", "imagenet", *TASKS))},
        "images": {name: rank for rank, name in enumerate(SCORED_SETS)},
    }
    order = pd.DataFrame({name: table[name].map(rank) for name, rank in ranks.items()})
    table = table.loc[order.sort_values(list(order)).index]
    return table.assign(table=TABLE_6.name, condition=condition)


def _position_command(weights: str) -> str:
    if weights not in TASKS:
        return f"extract-features --backbone vgg16 --weights {weights} && train-probes --sweep"
    return (
        f"train-backbone --task {weights} --out backbones/{weights}.pt && extract-features "
        f"--backbone vgg16 --weights backbones/{weights}.pt && train-probes --sweep"
    )
