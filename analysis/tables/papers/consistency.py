"""Table S2: how often classifiers keep their answer when images are moved by a few pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.placed.cells import as_cells
from analysis.read.published import task_tables
from analysis.tables.pooled import ALL_CLASSES, over_seeds, read_pooled, variant
from analysis.tables.table import Material, Table

TOP1, HELD_OUT = "top-1 %", "held out, top-1 %"
CONSISTENCY = ("consistency %", "consistency among the wrong %", "kappa")
_ORDER = (TOP1, HELD_OUT, *CONSISTENCY)
STILL, UNNAMED = "none", "not named"
# The slides do not name their kind of shift: nothing of ours may stand beside their consistency.
SHIFTS = (STILL, UNNAMED, "crop", "zero", "roll")
MEASURES = {  # metric of pooled.csv -> measure and shift
    "accuracy_percent": (TOP1, STILL),
    "heldout_accuracy_percent": (HELD_OUT, STILL),
    **{
        f"{shift}_{metric}": (measure, shift)
        for metric, measure in zip(
            ("consistency_percent", "consistency_wrong_percent", "kappa"), CONSISTENCY, strict=True
        )
        for shift in SHIFTS[2:]
    },
}
_PUBLISHED = {"top1_percent": (TOP1, STILL), "consistency_percent": (CONSISTENCY[0], UNNAMED)}
_NO_CROPS = "-"  # in the row `augshift`
_LAMBDA = "lambda not given"
_MODELS = {  # of the slides -> downsampling and AugShift
    "resnet18": ("stride", _NO_CROPS),
    "resnet18-blurpool": ("blur", _NO_CROPS),
    "resnet18-augshift": ("stride", _LAMBDA),
}
_NETWORK = ["patches", "model", "downsample", "augshift"]
_ROWS = [*_NETWORK, "measure"]
_RECIPE = "--optimizer sgd --epochs 250 --batch-size 256 --seeds 3"


def published_s2() -> pd.DataFrame:
    """The published cells: rows and column of the table, published_value."""
    rows = task_tables().query("table == 'S2'")
    own = [_MODELS[model] for model in rows["model"]]
    return pd.DataFrame(
        {
            "patches": rows["train_set"],
            "model": "resnet18",
            "downsample": [downsample for downsample, _ in own],
            "augshift": [augshift for _, augshift in own],
            "measure": [_PUBLISHED[metric][0] for metric in rows["metric"]],
            "shift": [_PUBLISHED[metric][1] for metric in rows["metric"]],
            "published_value": rows["value"],
        }
    )


def table_s2(table: Table, scores: pd.DataFrame) -> pd.DataFrame:
    """The cells of table S2, of what `read_pooled` gives: whole images, classified.

    Published values stand beside runs on their own set of images, of all its classes, zero padding
    and a linear layer on the pooled vector. The value of AugShift, whose lambda is not published,
    stands beside the lambda above 0 that is best on held-out patches.
    """
    scores = scores[scores["metric"].isin(MEASURES)]
    models = [_model(row) for row in scores.itertuples()]
    scores = scores.assign(
        model=pd.Series(models, scores.index, dtype=object),
        measure=scores["metric"].map(lambda metric: MEASURES[metric][0]),
        shift=scores["metric"].map(lambda metric: MEASURES[metric][1]),
        augshift=scores["augshift"].where(scores["augshift"] != "", _NO_CROPS),
    )
    ours = over_seeds(scores, ["condition", *_ROWS, "shift"], ["value"])
    published = published_s2()
    if ours.empty:
        return as_cells(table, ours, published, _fill)
    blocks = []
    for _, part in ours.groupby("condition", sort=False):
        beside = published[published["patches"].isin(part["patches"])]
        found = beside["augshift"].replace(_LAMBDA, _best_lambda(part))
        blocks.append(as_cells(table, part, beside.assign(augshift=found), _fill))
    return _in_order(pd.concat(blocks, ignore_index=True))


def _in_order(cells: pd.DataFrame) -> pd.DataFrame:
    """What was measured of a network together, whether it was published or not."""
    networks = cells.groupby(["condition", *_NETWORK], sort=False).ngroup()
    ranks = [networks, cells["measure"].map(_ORDER.index), cells["shift"].map(SHIFTS.index)]
    return cells.iloc[np.lexsort(ranks[::-1])]


def _model(row: Any) -> str:
    head = "" if row.head == "linear" else f", {row.head} head"
    fewer = row.classes < ALL_CLASSES[row.patches]
    return f"{row.network}{head}{variant(row)}" + (f", {row.classes} classes" if fewer else "")


def _best_lambda(part: pd.DataFrame) -> str:
    """Of the published network, by accuracy on held-out patches."""
    rows = part[(part["model"] == "resnet18") & (part["downsample"] == "stride")]
    rows = rows[(rows["measure"] == HELD_OUT) & ~rows["augshift"].isin([_NO_CROPS, "0"])]
    return _LAMBDA if rows.empty else str(rows.loc[rows["value"].idxmax(), "augshift"])


def _fill(cell: dict[str, Any]) -> str:
    if cell["shift"] == UNNAMED:
        return ""
    weights = " --augshift 0.1 --augshift 1 --augshift 10" if cell["augshift"] == _LAMBDA else ""
    return (
        f"train-backbone --task classification --network resnet18 --patches {cell['patches']} "
        f"--patch-root CIFAR --downsample {cell['downsample']}{weights} {_RECIPE}"
    )


def _classified(material: Material) -> pd.DataFrame:
    scores = read_pooled(material.results.folder)
    return scores[(scores["task"] == "classification") & (scores["grid"] == 1)]


def _cells(table: Table, material: Material) -> pd.DataFrame:
    return table_s2(table, _classified(material))


TABLE_S2 = Table(
    "S2",
    "Translation consistency of classifiers: crops, and shifts by a few pixels",
    tuple(_ROWS),
    "shift",
    _cells,
    "Islam et al. (ICCV 2021)",
    ", slides",
    metrics=("value",),
    of_maps=False,
    is_filled=lambda material: not _classified(material).empty,
)
