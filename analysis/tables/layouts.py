"""How the sources arrange their tables: what makes a row or a column, and in what words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from analysis.read.measured import METRICS
from analysis.read.published import PAPER, REPRODUCTION
from data.vocabulary import ALL_LEVELS, TAPPED_LEVELS


@dataclass(frozen=True)
class Layout:
    """One table of a source.

    `rows` and `column` are columns of a measured frame (`label_rows` adds `model`); each cell
    holds its `metrics`. `heads` says which measured heads may join those of the source: what
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
    metrics: tuple[str, ...] = METRICS
    published_on: str = ", ImageNet weights"  # what else is to be said of the published values


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
                "reads": (*TAPPED_LEVELS, ALL_LEVELS),
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


STUDY = Layout(
    "study",
    "",
    "Every readout measured, side by side (natural images)",
    ("run", "reads", "kernel_size", "depth", "probe_padding"),
    "pattern",
)

TABLE_6 = Layout(
    "6",
    PAPER,
    "Position read from backbones trained for a task, from every level together",
    ("pattern", "weights"),
    "images",
    {**_ONE_LAYER, **_MAIN, "backbone": ("vgg16",), "backbone_padding": ("zeros",)},
    published_on="",
)

TASK_LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout(
            "5a",
            PAPER,
            "VGG16 trained for saliency, with and without padding",
            ("padding",),
            "test_set",
            metrics=("f_measure", "mae"),
            published_on=", trained on MSRA",
        ),
        Layout(
            "5b",
            PAPER,
            "VGG16 trained for segmentation, with and without padding",
            ("padding",),
            "test_set",
            metrics=("miou_percent",),
            published_on=", trained on VOC 2012",
        ),
    )
}

EVERY_LAYOUT = {**LAYOUTS, **TASK_LAYOUTS, TABLE_6.name: TABLE_6, STUDY.name: STUDY}
