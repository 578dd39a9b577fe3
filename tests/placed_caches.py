"""What the tests of placed studies share: a small network, and small caches of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from extract.backbones.backbone import Backbone, wrap_module
from extract.placed.config import PlacedConfig


def network() -> nn.Sequential:
    torch.manual_seed(0)
    first, second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 3, stride=2, padding=1)
    return nn.Sequential(first, nn.ReLU(), nn.MaxPool2d(3, 2, 1), second, nn.ReLU(inplace=True))


def wrapped(padding: str = "zeros") -> Backbone:
    return wrap_module(network(), name="own", taps=("1", "4"), padding=padding, image_size=48)


def config(folder: Path, **options: Any) -> PlacedConfig:
    given = {"placed": "grid", "grid": (3,), "patch_size": 16, "patch_limit": 40}
    return PlacedConfig("own", cache_dir=folder, **given | options)
