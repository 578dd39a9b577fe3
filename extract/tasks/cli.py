"""`train-backbone`: parse, call, print."""

from __future__ import annotations

from data.tools.command import stage_command
from data.tools.terminal import show
from extract.tasks.config import TaskConfig


def _run(config: TaskConfig) -> None:
    from extract.tasks.train import train_backbone

    show(str(train_backbone(config)))


main = stage_command(
    TaskConfig,
    _run,
    help="Train VGG16 for saliency or segmentation, for extract-features --weights FILE to read.",
    resume="run the command again without --overwrite to go on from the last finished epoch",
)
