"""Everything the scores of channels can be told. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from data.tools.device import check_device
from data.tools.settings import setting
from probe.config import LevelConfig

ETA, FLIP, FLIP_SIGNED = "eta", "flip", "flip-signed"
RANKS = (ETA, FLIP, FLIP_SIGNED)
FILLS = ("mean", "zero")
ABLATE = (10, 50, 100, 200, 300)


@dataclass(frozen=True)
class ChannelConfig(LevelConfig):
    """Settings of `score_channels`: options of `train-probes --channels`."""

    rank: str = setting(
        "By eta squared of the cells, or as published by the change when the image is mirrored "
        "(extract-features --placed grid --mirrored).",
        ETA,
        choices=RANKS,
    )
    ablate: tuple[int, ...] = setting(
        "Remove so many of the foremost (repeatable; default "
        f"{', '.join(map(str, ABLATE))} where a level has more).",
        (),
        at_least=1,
    )
    fill: str = setting(
        "What a removed channel holds, its training mean or zero.", FILLS[0], choices=FILLS
    )
    device: str = setting("auto, cpu or cuda[:N].", "auto", check=check_device)
