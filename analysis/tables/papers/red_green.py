"""Table K2: networks that tell red left of green from green left of red, wherever they are."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.read.small import read_small, small_tables
from analysis.tables.compare import NOTHING_MEASURED
from analysis.tables.table import Material, Table
from data.vocabulary import RED_GREEN_CSV, SMALL_PADDINGS

PUBLISHED_SET, FRESH_SET = "published test", "fresh test"
POSITIONS = ("similar", "dissimilar")
_KEY = ["border", "test_set", "position"]
_TEXTS = ["padding", "test_set", "position"]
_NUMBERS = ["value", "seed", "n_train", "n_test", "epochs"]


def table_k2(scores: pd.DataFrame) -> pd.DataFrame:
    """The cells of table K2, of the columns of `red_green.csv`.

    One row per condition (how many images, how many epochs), padding, test set and position: mean
    and standard deviation over seeds, the published ones beside those of the published test.
    """
    scores = scores.assign(border=scores["padding"], test_set=scores["test_set"] + " test")
    published = small_tables().query("table == 'K2'").assign(test_set=PUBLISHED_SET)
    published = published.rename(columns={"padding": "border", "measure": "position"})
    wide = published.pivot(index=_KEY, columns="metric", values="value").add_prefix("published_")
    blocks = [(_condition(part), part) for _, part in scores.groupby(["n_train", "epochs"])]
    blocks = blocks or [(NOTHING_MEASURED, scores)]
    cells = pd.concat([_block(condition, part, wide) for condition, part in blocks])
    rank = [
        cells["condition"].map(list(dict.fromkeys(cells["condition"])).index),
        cells["border"].map(SMALL_PADDINGS.index),
        cells["test_set"].map([PUBLISHED_SET, FRESH_SET].index),
        cells["position"].map(POSITIONS.index),
    ]
    return cells.iloc[np.lexsort(rank[::-1])]


def _condition(scores: pd.DataFrame) -> str:
    first = scores.iloc[0]
    return f"{first['n_train']:.0f} training images, at most {first['epochs']:.0f} epochs"


def _block(condition: str, scores: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    ours = scores.groupby(_KEY).agg(
        percent=("value", "mean"),
        percent_sd=("value", "std"),
        n_seeds=("seed", "nunique"),
        n_images=("n_test", "first"),
    )
    cells = published.join(ours, how="outer").reset_index()
    numbers = ["percent", "percent_sd", "n_seeds"]
    cells[numbers] = cells[numbers].astype(float)
    command = "train-backbone --task red-green --seeds 10 --padding " + cells["border"]
    return cells.assign(
        table="K2",
        condition=condition,
        fill=command.where(cells["n_seeds"].isna(), ""),
        percent_difference=cells["percent"] - cells["published_percent"],
        percent_low=np.nan,
        percent_high=np.nan,
        status="converged",
        n_undefined=0,
    )


def _cells(table: Table, material: Material) -> pd.DataFrame:
    path = material.results.folder / RED_GREEN_CSV
    return table_k2(read_small(path, _TEXTS, _NUMBERS, "red-green"))


TABLE_K2 = Table(
    "K2",
    "Red left of green, or green left of red? In the rows of the training images (similar) and in "
    "those of the other class (dissimilar)",
    ("border", "test_set"),
    "position",
    _cells,
    "Kayhan and van Gemert (CVPR 2020), table 1",
    ", 10 seeds; their test images are the first 1,000 training images",
    metrics=("percent",),
    of_maps=False,
    is_filled=lambda material: (material.results.folder / RED_GREEN_CSV).exists(),
)
