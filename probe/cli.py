"""`train-probes`: parse, call, print."""

from __future__ import annotations

from pathlib import Path

import click

from data.tools.command.stages import USUAL, Stage, flag_command, instead
from data.tools.terminal import show
from probe.channels.config import ChannelConfig
from probe.config import ProbeConfig
from probe.consistency.config import ConsistencyConfig
from probe.placed.config import PlacedProbeConfig
from probe.segmentation.config import SegmentationConfig


def _run_maps(config: ProbeConfig) -> None:
    from probe.results.listing import spc_table
    from probe.train import train_probes

    scores = train_probes(config)
    table = spc_table(scores)
    if table:
        show(table)
    show(str(scores))


def _plan_maps(config: ProbeConfig) -> str:
    from probe.cost import plan_training

    return plan_training(config)


def _run_placed(config: PlacedProbeConfig) -> None:
    from probe.placed.train import train_placed

    show(str(train_placed(config)))


def _plan_placed(config: PlacedProbeConfig) -> str:
    from probe.placed.train import plan_placed_training

    return plan_placed_training(config)


def _run_channels(config: ChannelConfig) -> None:
    from probe.channels.run import score_channels

    show(str(score_channels(config)))


def _plan_channels(config: ChannelConfig) -> str:
    from probe.channels.run import plan_channels

    return plan_channels(config)


def _run_segmentation(config: SegmentationConfig) -> None:
    from probe.segmentation.run import train_segmentation

    show(str(train_segmentation(config)))


def _plan_segmentation(config: SegmentationConfig) -> str:
    from probe.segmentation.run import plan_segmentation

    return plan_segmentation(config)


def _run_consistency(config: ConsistencyConfig) -> None:
    from probe.consistency.run import measure_consistency

    show(str(measure_consistency(config)))


def _plan_consistency(config: ConsistencyConfig) -> str:
    from probe.consistency.run import plan_consistency

    return plan_consistency(config)


def _list_runs(folder: Path) -> None:
    from probe.results.listing import runs_listing

    show(runs_listing(folder.expanduser()))


main = flag_command(
    "train-probes",
    {
        USUAL: Stage(ProbeConfig, _run_maps, _plan_maps),
        "placed": Stage(PlacedProbeConfig, _run_placed, _plan_placed),
        "channels": Stage(ChannelConfig, _run_channels, _plan_channels),
        "consistency": Stage(ConsistencyConfig, _run_consistency, _plan_consistency),
        "segmentation": Stage(SegmentationConfig, _run_segmentation, _plan_segmentation),
    },
    {
        "placed": "Read places and classes from every pooled cache (extract-features --placed), "
        "instead of maps from feature caches.",
        "channels": "Score every channel of every cache by how much it says of the place, and read "
        "without the foremost ones.",
        "consistency": "Measure how far pooled vectors move when the image moves by a few pixels, "
        "in every pooled cache of such images (extract-features --placed shifts).",
        "segmentation": "Segment placed images from every aligned cache of them (extract-features "
        "--placed grid --aligned --patches shapes): into classes, and into classes by half.",
    },
    help="Train many readout heads from every feature cache in one pass over it, and score them.",
    resume="run the command again without --overwrite to go on from the last finished epoch",
)
main.params.append(
    instead(
        "--list",
        _list_runs,
        "List the runs of a folder (default results), their sizes and states, and exit.",
        is_flag=False,
        flag_value=Path("results"),
        type=click.Path(path_type=Path),
        metavar="[FOLDER]",
    )
)
