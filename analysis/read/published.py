"""The published numbers, as data frames.

Sources: Islam, Jia and Bruce, "How Much Position Information Do Convolutional Neural Networks
Encode?" (ICLR 2020); its Southampton reproduction report; the slides of "Global Pooling, More than
Meets the Eye" (ICCV 2021). What the files hold and how signs were read: published/README.md.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from data.vocabulary import ALL_LEVELS
from probe.metrics import METRICS

if TYPE_CHECKING:
    from importlib.abc import Traversable

PAPER = "paper"
REPRODUCTION = "reproduction report"

# What a score was measured on, apart from its head's seed and the weights of the backbone.
HEAD = ["pattern", "backbone", "backbone_padding", "levels", "kernel_size", "depth"]
HEAD += ["probe_padding"]

# The natural images of a source are our image set "test".
_NATURAL_IMAGES = ("pascal-s", "uos-bear")


POSITION_TABLES = resources.files("analysis") / "published" / "position_tables.csv"
# Of a published head, all levels of its backbone.
_EVERY_LEVEL = ("input", "f1+f2+f3+f4+f5")


def published_rows(file: Path | Traversable, table: str) -> pd.DataFrame:
    """The rows of one table in a CSV file with the columns of `position_tables`.

    With the columns `reads` ("all" where a head reads every level) and, for each metric of ours,
    that which it answers, NaN where the source has none.
    """
    every = _read(file)
    rows = every[every["table"] == table].reset_index(drop=True)
    whole = rows["levels"].isin(_EVERY_LEVEL)
    rows = rows.assign(reads=rows["levels"].where(~whole, ALL_LEVELS))
    for metric in METRICS.values():
        rows[metric.name] = rows.get(metric.published, np.nan)
    return rows


def beside(published: pd.DataFrame, ours: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    """Every cell that either has, named by `key`: ours, published_* of every metric, *_difference.

    Differences are ours minus published. Neither may have a cell twice.
    """
    wanted = published.rename(columns={name: f"published_{name}" for name in METRICS})
    cells = wanted.merge(ours, how="outer", on=key, validate="1:1")
    for metric in METRICS:
        cells[f"{metric}_difference"] = cells[metric] - cells[f"published_{metric}"]
    return cells


def position_tables() -> pd.DataFrame:
    """Tables 1 to 4 and 6 of the paper and table 2 (`R2`) of the reproduction report.

    One row per head and image set: source, table, `HEAD`, weights, images ("test" for natural
    ones), published_images (as the source calls them), spc and mae (NaN where undefined).
    """
    return _read(POSITION_TABLES)


def task_tables() -> pd.DataFrame:
    """Table 5 of the paper and table `S2` of the slides, one row per value; S1 is with K4."""
    file = resources.files("analysis") / "published" / "task_tables.csv"
    with file.open(encoding="utf-8") as opened:
        return pd.read_csv(opened, keep_default_na=False)


def _read(file: Path | Traversable) -> pd.DataFrame:
    with file.open(encoding="utf-8") as opened:
        table = pd.read_csv(opened, keep_default_na=False, na_values={"spc": "nan"})
    table["published_images"] = table["images"]
    table["images"] = table["images"].replace(dict.fromkeys(_NATURAL_IMAGES, "test"))
    return table
