"""Table K1: small networks that tell two places apart, as far as their padding lets them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.read.small import read_small, small_tables
from analysis.tables.compare import NOTHING_MEASURED
from analysis.tables.table import Material, Table
from data.vocabulary import ROOK_CSV, ROOK_MARGINS_CSV, SMALL_PADDINGS

ACCURACY, PERFECT, DEAD = "accuracy", "perfect seeds", "dead seeds"
_KEY = ["images", "padding"]


def rook_measures(folder: Path) -> pd.DataFrame:
    """Percentages by condition, padding and measure: of networks, and of untrained kernels.

    `n_images` counts what a percentage is of: networks (mean accuracy, and how many are at 100 %
    or dead), or kernels whose maxima differ between the two places at a margin.
    """
    numbers = ["margin", "accuracy_percent", "dead", "seed"]
    networks = read_small(folder / ROOK_CSV, [*_KEY, "run"], numbers, "rook")
    numbers = ["margin", "n_kernels", "n_different"]
    sweep = read_small(folder / ROOK_MARGINS_CSV, _KEY, numbers, "rook")
    rows: list[tuple[Any, ...]] = []
    for (images, padding, margin, _), part in networks.groupby([*_KEY, "margin", "run"]):
        values = {
            ACCURACY: part["accuracy_percent"].mean(),
            PERFECT: 100 * (part["accuracy_percent"] == 100).mean(),
            DEAD: 100 * part["dead"].mean(),
        }
        condition = f"{images}, margin {margin:.0f}, {len(part)} seeds"
        rows += [(condition, images, padding, name, v, len(part)) for name, v in values.items()]
    for cell in sweep.to_dict("records"):
        images, padding, kernels = cell["images"], cell["padding"], cell["n_kernels"]
        conditions = {row[0] for row in rows if row[1] == images}
        share = 100 * cell["n_different"] / kernels
        measure = f"kernels, margin {cell['margin']:.0f}"
        rows += [
            (condition, images, padding, measure, share, kernels)
            for condition in sorted(conditions)
        ]
    return pd.DataFrame(
        rows, columns=["condition", "images", "padding", "measure", "percent", "n_images"]
    )


def table_k1(measured: pd.DataFrame) -> pd.DataFrame:
    """The cells of table K1: one row per condition, padding and measure; the published beside."""
    published = small_tables().query("table == 'K1'").rename(columns={"value": "published_percent"})
    published = published[["padding", "measure", "published_percent"]]
    blocks = list(measured.groupby("condition")) or [(NOTHING_MEASURED, measured)]
    cells = pd.concat(
        [
            published.merge(part, how="outer", on=["padding", "measure"]).assign(condition=name)
            for name, part in blocks
        ]
    )
    measures = [ACCURACY, PERFECT, DEAD, *sorted(set(cells["measure"]) - {ACCURACY, PERFECT, DEAD})]
    order = [cells["padding"].map(SMALL_PADDINGS.index), cells["measure"].map(measures.index)]
    condition = cells["condition"].map(lambda name: [str(n) for n, _ in blocks].index(name))
    cells = cells.iloc[np.lexsort((order[1], order[0], condition))]
    fill = cells["percent"].isna().map({True: "train-backbone --task rook", False: ""})
    return cells.assign(
        table="K1",
        border=cells["padding"],
        fill=fill.where(fill == "", fill + " --padding " + cells["padding"]),
        percent=cells["percent"].astype(float),
        percent_difference=cells["percent"].astype(float) - cells["published_percent"],
        **dict.fromkeys(("percent_sd", "percent_low", "percent_high"), np.nan),
        **{"status": "converged", "n_undefined": 0, "n_seeds": 1},
    )


def _cells(table: Table, material: Material) -> pd.DataFrame:
    return table_k1(rook_measures(material.results.folder))


TABLE_K1 = Table(
    "K1",
    "A convolution, global max pooling and a linear layer: is the rook left above or right below?",
    ("border",),
    "measure",
    _cells,
    "Kayhan and van Gemert (CVPR 2020), figure 1",
    published_on=", their own pictures, five seeds",
    metrics=("percent",),
    of_maps=False,
    is_filled=lambda material: (material.results.folder / ROOK_CSV).exists(),
)
