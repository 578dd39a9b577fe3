"""`train-probes`: parse, call, print."""

from __future__ import annotations

import os

from data.tools.command import stage_command
from data.tools.terminal import show
<<<<<<< HEAD
from probe.segmentation.config import SegmentationConfig


def _run(config: SegmentationConfig) -> None:
    if config.channels:
        from probe.channels.run import score_channels

        show(str(score_channels(config)))
        return
    if config.segmentation:
        from probe.segmentation.run import train_segmentation

        show(str(train_segmentation(config)))
=======
from probe.placed.config import PlacedProbeConfig


def _run(config: PlacedProbeConfig) -> None:
    if config.placed:
        from probe.placed.train import train_placed

        show(str(train_placed(config)))
>>>>>>> f5871a7 (probe/placed: train-probes --placed, readings of places and classes from pooled caches in results/placed.csv; data/intervals: intervals for all stages)
        return
    # Tensors of many megabytes come and go with every batch: in pages of 2 MB where Linux has them
    # (torch reads this once), a sweep from disk is a sixth faster.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    from probe.train import train_probes

    show(str(train_probes(config)))


main = stage_command(
<<<<<<< HEAD
    SegmentationConfig,
=======
    PlacedProbeConfig,
>>>>>>> f5871a7 (probe/placed: train-probes --placed, readings of places and classes from pooled caches in results/placed.csv; data/intervals: intervals for all stages)
    _run,
    help="Train many readout heads from every feature cache in one pass over it, and score them.",
    resume="run the command again without --overwrite to go on from the last finished epoch",
)
