"""`train-probes`: parse, call, print."""

from __future__ import annotations

import os

from data.tools.command import stage_command
from data.tools.terminal import show
from probe.placed.config import PlacedProbeConfig


def _run(config: PlacedProbeConfig) -> None:
    if config.placed:
        from probe.placed.train import train_placed

        show(str(train_placed(config)))
        return
    if config.channels:
        from probe.channels.run import score_channels

        show(str(score_channels(config)))
        return
    if config.segmentation:
        from probe.segmentation.run import train_segmentation

        show(str(train_segmentation(config)))
        return
    # Tensors of many megabytes come and go with every batch: in pages of 2 MB where Linux has them
    # (torch reads this once), a sweep from disk is a sixth faster.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    from probe.train import train_probes

    show(str(train_probes(config)))


main = stage_command(
    PlacedProbeConfig,
    _run,
    help="Train many readout heads from every feature cache in one pass over it, and score them.",
    resume="run the command again without --overwrite to go on from the last finished epoch",
)
