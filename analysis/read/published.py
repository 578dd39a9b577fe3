"""The published numbers, as data frames.

Sources: Islam, Jia and Bruce, "How Much Position Information Do Convolutional Neural Networks
Encode?" (ICLR 2020); its Southampton reproduction report; the slides of "Global Pooling, More than
Meets the Eye" (ICCV 2021). What the files hold and how signs were read: published/README.md.
"""

from __future__ import annotations

from importlib import resources

import pandas as pd

PAPER = "paper"
REPRODUCTION = "reproduction report"

# What a score was measured on, apart from its head's seed and the weights of the backbone.
HEAD = ["pattern", "backbone", "backbone_padding", "levels", "kernel_size", "depth"]
HEAD += ["probe_padding"]

# The natural images of a source are our image set "test".
_NATURAL_IMAGES = ("pascal-s", "uos-bear")


def position_tables() -> pd.DataFrame:
    """Tables 1 to 4 and 6 of the paper and table 2 (`R2`) of the reproduction report.

    One row per head and image set: source, table, `HEAD`, weights, images ("test" for natural
    ones), published_images (as the source calls them), spc and mae (NaN where undefined).
    """
    table = _read("position_tables.csv")
    table["published_images"] = table["images"]
    table["images"] = table["images"].replace(dict.fromkeys(_NATURAL_IMAGES, "test"))
    return table


def task_tables() -> pd.DataFrame:
    """Table 5 of the paper and the two tables (`S1`, `S2`) of the slides, one row per value."""
    return _read("task_tables.csv")


def _read(name: str) -> pd.DataFrame:
    with (resources.files("analysis") / "published" / name).open(encoding="utf-8") as file:
        return pd.read_csv(file, keep_default_na=False, na_values={"spc": "nan"})
