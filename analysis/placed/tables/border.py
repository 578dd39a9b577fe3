"""Table K4: which of two corners a patch is in, by the width of the border around them."""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.placed.cells import PERCENT, as_cells, chosen, of_network, published_cells
from analysis.placed.read import network_label, read_placed
from analysis.tables.table import Material, Table

BORDERS = (0, 16, 32, 64, 128)  # of which the source says more than that nothing is left


def border_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The readings of two corners: ordered vectors of the deepest level, by pooling and border."""
    corners = rows[rows["study"] == "corners"].query("task == 'location' and reading == 'ordered'")
    return corners.assign(condition=corners["condition"] + ", canvas " + corners["canvas"])


def _cells(table: Table, material: Material) -> pd.DataFrame:
    ours = of_network(border_rows(chosen(read_placed(material.results.folder), material)))
    published = published_cells(table)
    names = published["network"].combine(published["weights"], network_label)
    published = published.assign(network=names, border=published["column"].astype(int))
    return as_cells(table, ours, published, _fill)


def _fill(cell: dict[str, Any]) -> str:
    backbone, weights = cell["network"].split(", ")
    if weights not in ("untrained", "imagenet"):
        return ""  # trained for the task: a frozen network does not stand in its cell
    weights = weights.replace("untrained", "random")
    borders = " ".join(f"--border {border}" for border in BORDERS)
    return (
        f"extract-features --backbone {backbone} --weights {weights} --placed corners {borders} "
        "&& train-probes --placed"
    )


K4 = Table(
    "K4",
    "Which of two corners a patch is in, by the black border around them (pixels)",
    ("network", "pooling"),
    "border",
    _cells,
    "Kayhan and van Gemert (CVPR 2020), figure 4",
    ", read off the plot by 1 % and less; ImageNet images; chance 50; ours: untrained BatchNorms "
    "with the statistics of the placed images, as theirs, unless said",
    metrics=(PERCENT,),
    of_maps=False,
    is_filled=lambda material: not border_rows(read_placed(material.results.folder)).empty,
)
