"""How the sources arrange their tables: what makes a row or a column, and in what words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from analysis.measured import ALL_LEVELS
from analysis.published import PAPER, REPRODUCTION

_MODELS = {
    "pixels": "PosENet",
    "vgg16": "VGG16",
    "resnet152": "ResNet-152",
}
_IMAGE_SETS = {"test": "natural", "black": "black", "white": "white", "noise": "noise"}
_PADDINGS = {"zeros": "", "-": "", "none": " w/o padding"}


@dataclass(frozen=True)
class Layout:
    """One table of a source.

    `rows` and `column` are columns of a measured frame (`label_rows` adds `model`); each cell
    holds an SPC and an MAE. `heads` says which measured heads may join those of the source: what
    is not listed may vary. A backbone that the source lacks joins when it was measured at two or
    more values of `varied`.
    """

    name: str
    source: str
    title: str
    rows: tuple[str, ...]
    column: str
    heads: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    varied: tuple[str, ...] = ()


_ONE_LAYER = {"reads": (ALL_LEVELS,), "kernel_size": (3,), "depth": (1,), "probe_padding": (0,)}
_PADDED = {"backbone_padding": ("zeros", "-")}
_MAIN = {"pattern": ("H", "G", "HS")}

LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout(
            "1",
            PAPER,
            "Position read from every level together, by pattern, model and images",
            ("pattern", "backbone"),
            "images",
            {**_ONE_LAYER, **_PADDED},
        ),
        Layout(
            "2a",
            PAPER,
            "Convolutions in the readout (natural images)",
            ("pattern", "depth"),
            "backbone",
            {**_ONE_LAYER, **_PADDED, **_MAIN, "depth": (1, 2, 3), "images": ("test",)},
            varied=("depth",),
        ),
        Layout(
            "2b",
            PAPER,
            "Kernel size of the readout (natural images)",
            ("pattern", "kernel_size"),
            "backbone",
            {**_ONE_LAYER, **_PADDED, **_MAIN, "kernel_size": (1, 3, 5, 7), "images": ("test",)},
            varied=("kernel_size",),
        ),
        Layout(
            "3",
            PAPER,
            "Levels of the backbone (natural images)",
            ("pattern", "reads"),
            "backbone",
            {
                **_ONE_LAYER,
                "backbone_padding": ("zeros",),
                "pattern": ("H", "G"),
                "reads": ("f1", "f2", "f3", "f4", "f5", ALL_LEVELS),
                "images": ("test",),
            },
            varied=("reads",),
        ),
        Layout(
            "4",
            PAPER,
            "Padding of the backbone and of the readout (natural images)",
            ("model",),
            "pattern",
            {**_ONE_LAYER, **_MAIN, "probe_padding": (0, 1, 2, 3), "images": ("test",)},
            varied=("backbone_padding", "probe_padding"),
        ),
        Layout(
            "R2",
            REPRODUCTION,
            "The reproduction report's table 2, arranged like table 1",
            ("pattern", "backbone"),
            "images",
            {**_ONE_LAYER, **_PADDED},
        ),
    )
}


def model_label(backbone: str) -> str:
    """A backbone as the sources call it; its own name where they do not know it."""
    return _MODELS.get(backbone, backbone)


def row_model_label(row: Any) -> str:
    """Backbone, its padding and the readout's, as in table 4."""
    padding = row.backbone_padding
    label = model_label(row.backbone) + _PADDINGS.get(padding, f", {padding} padding")
    if row.probe_padding:
        label += f", readout padding {row.probe_padding}"
    return label


def cell_label(column: str, value: Any) -> str:
    """The value of a row or column of a table, in words."""
    if column == "backbone":
        return model_label(value)
    if column == "images":
        return _IMAGE_SETS[value]
    if column == "depth":
        return f"{value} layer" + ("s" if value > 1 else "")
    if column == "kernel_size":
        return f"{value} x {value}"
    return str(value)


ROW_NAMES = {
    "pattern": "pattern",
    "backbone": "model",
    "model": "model",
    "depth": "layers",
    "kernel_size": "kernel",
    "reads": "levels",
}


def label_rows(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a column `model`, the words of table 4."""
    return table.assign(model=[row_model_label(row) for row in table.itertuples()])
