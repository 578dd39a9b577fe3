"""Everything the segmentation probe can be told. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from data.tools.settings import setting
from probe.channels.config import ChannelConfig


@dataclass(frozen=True)
class SegmentationConfig(ChannelConfig):
    """Settings of `train_segmentation`; those of `ChannelConfig` mean what they mean there."""

    segmentation: bool = setting(
        "Segment placed images from every aligned cache of them (extract-features --placed grid "
        "--aligned --patches shapes): into classes, and into classes by half.",
        False,
    )
