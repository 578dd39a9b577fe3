"""Everything the segmentation probe can be told. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from data.tools.device import check_device
from data.tools.settings import setting
from probe.config import LevelConfig


@dataclass(frozen=True)
class SegmentationConfig(LevelConfig):
    """Settings of `train_segmentation`: options of `train-probes --segmentation`."""

    device: str = setting("auto, cpu or cuda[:N].", "auto", check=check_device)
