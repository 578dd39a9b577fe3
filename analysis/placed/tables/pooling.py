"""Table S1: location and image classification from globally pooled vectors, by reading.

In blocks of their own: networks trained for each task, and readings of frozen ones.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.placed.cells import (
    ABOVE_CHANCE,
    GAP,
    METRICS,
    PERCENT,
    above_chance,
    as_cells,
    chosen,
    of_network,
    published_cells,
)
from analysis.placed.read import read_placed
from analysis.tables.pooled import ALL_CLASSES, over_seeds, read_pooled, variant
from analysis.tables.table import Material, Table

CIFAR = "cifar10"
TRAINED, FROZEN = "trained for the task on CIFAR-10", "frozen"
# A head as the source calls its network, and how it reads the pooled vector.
_NETWORKS = {"gap": "gapnet", "permute": "permutenet", "linear": "linear"}
_READINGS = {"gap": "ordered", "permute": "permuted", "linear": "ordered"}


def grid_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The readings of mean-pooled vectors of a grid, with what the columns of S1 call them."""
    grids = rows[(rows["study"] == "grid") & (rows["pooling"] == GAP)]
    columns = pd.Series([_column(row) for row in grids.itertuples()], grids.index, dtype=object)
    condition = grids["condition"] + ", canvas " + grids["canvas"]
    return grids.assign(column=columns, condition=condition)


def _column(row: Any) -> str:
    size = f"{row.grid}x{row.grid}"
    if row.task == "location":
        return f"location {size}"
    if row.task == "class":
        return f"image classification {size}"
    return f"image classification {size}, {round(1 / row.chance)} classes"


def trained_rows(scores: pd.DataFrame) -> pd.DataFrame:
    """Networks trained on a grid, over seeds, of what `read_pooled` gives.

    Kind, network, reading and column are those of the source for its own networks, padding and
    classes on CIFAR-10, and for no others.
    """
    scores = scores[scores["metric"] == PERCENT]
    scores = scores.sort_values(["task", "grid"], ascending=[False, True], kind="stable")
    labels = {"kind": _kind, "network": _network, "column": _trained_column}
    rows = list(scores.itertuples())
    scores = scores.assign(
        reading=scores["head"].map(_READINGS),
        **{PERCENT: scores["value"], ABOVE_CHANCE: above_chance(scores["value"], scores["chance"])},
        **{
            name: pd.Series([label(row) for row in rows], scores.index, dtype=object)
            for name, label in labels.items()
        },
    )
    key = ["condition", "kind", "network", "reading", "column"]
    return over_seeds(scores, key, list(METRICS))


def _kind(row: Any) -> str:
    return TRAINED if row.patches == CIFAR else f"trained for the task on {row.patches}"


def _network(row: Any) -> str:
    blur = ", blur" if row.downsample == "blur" else ""
    return f"{row.network}-{_NETWORKS[row.head]}{blur}{variant(row)}"


def _trained_column(row: Any) -> str:
    size = f"{row.grid}x{row.grid}"
    if row.task == "location":
        return f"location {size}"
    fewer = f", {row.classes} classes" if row.classes < ALL_CLASSES[row.patches] else ""
    return f"image classification {size}{fewer}"


def _on_grids(material: Material) -> pd.DataFrame:
    """The scores of trained networks that were asked for, of patches on a grid."""
    scores = read_pooled(material.results.folder)
    scores = scores[scores["grid"] > 1]
    return scores[scores["network"].isin(material.backbone)] if material.backbone else scores


def _cells(table: Table, material: Material) -> pd.DataFrame:
    published = published_cells(table)
    chance = [_published_chance(column) for column in published["column"]]
    above = above_chance(published[f"published_{PERCENT}"], pd.Series(chance, published.index))
    published = published.assign(
        kind=TRAINED,
        **{f"published_{ABOVE_CHANCE}": above},
    )
    blocks = []
    for kind, rows in trained_rows(_on_grids(material)).groupby("kind", sort=False):
        beside = published if kind == TRAINED else published.head(0)
        blocks.append(as_cells(table, rows, beside, _fill))
    frozen = of_network(grid_rows(chosen(read_placed(material.results.folder), material)))
    if len(frozen):
        # A frozen network reads what it was never trained for: it stands in no cell of the source.
        blocks.append(as_cells(table, frozen.assign(kind=FROZEN), published, lambda cell: ""))
    return pd.concat(blocks or [as_cells(table, frozen.assign(kind=FROZEN), published, _fill)])


def _fill(cell: dict[str, Any]) -> str:
    """The command that trains a network of the slides; their repository's is the same."""
    name, task = cell["network"], cell["column"].rpartition(" ")
    heads = [head for head, called in _NETWORKS.items() if name == f"resnet18-{called}"]
    if not heads:
        return ""
    asked = "location" if task[0] == "location" else "classification"
    return (
        f"train-backbone --task {asked} --grid {task[2].partition('x')[0]} --head {heads[0]} "
        f"--network resnet18 --patches {CIFAR} --patch-root CIFAR --mirror --seeds 3"
    )


def _published_chance(column: str) -> float:
    """Of location one cell of the grid, of CIFAR-10 one class."""
    task, _, size = column.rpartition(" ")
    side = int(size.partition("x")[0])
    return 1 / side**2 if task == "location" else 1 / ALL_CLASSES[CIFAR]


S1 = Table(
    "S1",
    "Location and image classification from globally pooled vectors",
    ("kind", "network", "reading"),
    "column",
    _cells,
    "Islam et al. (ICCV 2021)",
    ", slides and repository; networks trained end to end for each task on CIFAR-10",
    metrics=METRICS,
    of_maps=False,
    is_filled=lambda material: bool(
        len(_on_grids(material)) or len(grid_rows(read_placed(material.results.folder)))
    ),
)
