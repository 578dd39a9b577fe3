"""Table K1: small networks that tell two places apart, as far as their padding lets them."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.tables.compare import NOTHING_MEASURED
from analysis.tables.table import Material, Table
from data.tools.errors import UserError
from data.vocabulary import ROOK_CSV, ROOK_MARGINS_CSV

PUBLISHED = resources.files("analysis") / "published" / "small_tables.csv"
PADDINGS = ("zeros", "none", "reflect", "replicate", "circular", "full")
ACCURACY, PERFECT, DEAD = "accuracy", "perfect seeds", "dead seeds"
_COLUMNS = ["images", "padding", "margin", "accuracy_percent", "dead", "seed", "run"]
_SWEEP = ["images", "padding", "margin", "n_kernels", "n_different"]


def small_tables() -> pd.DataFrame:
    """The published values of small networks: source, table, padding, measure, metric, value."""
    with PUBLISHED.open(encoding="utf-8") as opened:
        return pd.read_csv(opened, keep_default_na=False)


def has_rooks(folder: Path) -> bool:
    """Whether the results hold any rook network."""
    return (folder / ROOK_CSV).exists()


def _read(path: Path, columns: list[str]) -> pd.DataFrame:
    if not path.exists():
        return pd.DataFrame(columns=columns)
    try:
        table = pd.read_csv(path)[columns]
        numbers = [name for name in columns if name not in ("images", "padding", "run")]
        return table.astype(dict.fromkeys(numbers, float))
    except (KeyError, ValueError) as error:
        raise UserError(
            f"{path} is damaged or of another version ({error}): remove it and run "
            "train-backbone --task rook again"
        ) from None


def rook_measures(folder: Path) -> pd.DataFrame:
    """Percentages by condition, padding and measure: of networks, and of untrained kernels.

    `n_images` counts what a percentage is of: networks (mean accuracy, and how many are at 100 %
    or dead), or kernels whose maxima differ between the two places at a margin.
    """
    networks = _read(folder / ROOK_CSV, _COLUMNS)
    rows: list[tuple[Any, ...]] = []
    keys = ["images", "padding", "margin", "run"]
    for (images, padding, margin, _), part in networks.groupby(keys):
        values = {
            ACCURACY: part["accuracy_percent"].mean(),
            PERFECT: 100 * (part["accuracy_percent"] == 100).mean(),
            DEAD: 100 * part["dead"].mean(),
        }
        condition = f"{images}, margin {margin:.0f}, {len(part)} seeds"
        rows += [(condition, images, padding, name, v, len(part)) for name, v in values.items()]
    for cell in _read(folder / ROOK_MARGINS_CSV, _SWEEP).to_dict("records"):
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
    order = [cells["padding"].map(PADDINGS.index), cells["measure"].map(measures.index)]
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
    is_filled=lambda material: has_rooks(material.results.folder),
)
