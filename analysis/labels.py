"""Backbones, paddings and image sets in the words of the sources."""

from __future__ import annotations

from typing import Any

import pandas as pd

from data.vocabulary import CONSTANT, CONVERGED, DIVERGED, FALLING, UNDER_TRAINED
from probe.metrics import METRICS

_MODELS = {
    "pixels": "PosENet",
    "vgg16": "VGG16",
    "resnet152": "ResNet-152",
}
_IMAGE_SETS = {"test": "natural", "black": "black", "white": "white", "noise": "noise"}
_WEIGHTS = {
    "imagenet": "VGG16, ImageNet",
    "saliency": "VGG16-SOD",
    "segmentation": "VGG16-SS",
    "random": "VGG16, untrained",
}
_TASK_METRICS = {
    "f_measure": "F",
    "miou_percent": "mIoU %",
    "change_percent": "change %",
    "accuracy_percent": "accuracy %",
    "above_chance_percent": "above chance %",
    "ablation_percent": "%",
    "percent": "%",
    "value": "",
}
# How the training of a readout ended, in plain words; results have the names.
STATUS_LABELS = {
    CONVERGED: "trained to the end",
    CONSTANT: "nothing to read",
    FALLING: "still improving",
    UNDER_TRAINED: "trained too little",
    DIVERGED: "training failed",
}
_PADDINGS = {"zeros": "", "-": "", "none": " w/o padding"}


def metric_label(name: str) -> str:
    """A column of scores as the head of a table."""
    return METRICS[name].label if name in METRICS else _TASK_METRICS[name]


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


def run_label(row: Any) -> str:
    """A run, and how many seeds of its network are together in a measured row."""
    return f"{row.run} ({row.n_networks} seeds)" if row.n_networks > 1 else str(row.run)


def cell_label(column: str, value: Any) -> str:
    """The value of a row or column of a table, in words."""
    if column == "backbone":
        return model_label(value)
    if column == "weights":
        return _WEIGHTS.get(value, value)
    if column == "padding":
        return model_label("vgg16") + _PADDINGS.get(value, f", {value} padding")
    if column == "images":
        return _IMAGE_SETS.get(value, value)
    if column == "depth":
        return f"{value} layer" + ("s" if value > 1 else "")
    if column == "kernel_size":
        return f"{value} x {value}"
    return str(value)


ROW_NAMES = {
    "pattern": "pattern",
    "backbone": "model",
    "model": "model",
    "weights": "model",
    "padding": "model",
    "border": "padding",
    "depth": "layers",
    "kernel_size": "kernel",
    "reads": "levels",
    "run": "run",
    "probe_padding": "readout padding",
}


def label_rows(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a column `model`, the words of table 4."""
    return table.assign(model=[row_model_label(row) for row in table.itertuples()])
