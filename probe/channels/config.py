"""Everything the scores of channels can be told. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from data.tools.errors import UserError
from data.tools.settings import setting, spelled
from probe.config import ProbeConfig

ETA, FLIP, FLIP_SIGNED = "eta", "flip", "flip-signed"
RANKS = (ETA, FLIP, FLIP_SIGNED)
FILLS = ("mean", "zero")
ABLATE = (10, 50, 100, 200, 300)


@dataclass(frozen=True)
class ChannelConfig(ProbeConfig):
    """Settings of `score_channels`; those of `ProbeConfig` mean what they mean there."""

    channels: bool = setting(
        "Score every channel of every cache by how much it says of the place, and read without "
        "the foremost ones.",
        False,
    )
    rank: str = setting(
        "Channels: by eta squared of the cells, or as published by the change when the image is "
        "mirrored (extract-features --placed grid --mirrored).",
        ETA,
        choices=RANKS,
    )
    ablate: tuple[int, ...] = setting(
        "Channels: remove so many of the foremost (repeatable; default "
        f"{', '.join(map(str, ABLATE))} where a level has more).",
        (),
        at_least=1,
    )
    fill: str = setting(
        "Channels: what a removed channel holds, its training mean or zero.",
        FILLS[0],
        choices=FILLS,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, default in (("rank", ETA), ("ablate", ()), ("fill", FILLS[0])):
            if not self.channels and getattr(self, name) != default:
                raise UserError(
                    f"{spelled(name)} without {spelled('channels')}: add it, or leave {name} out"
                )
