"""`train-backbone`: parse, call, print."""

from __future__ import annotations

from typing import Any

from data.tools.command.stages import Stage, choice_command
from data.tools.terminal import show
from extract.tasks.table import TASKS


def _run(config: Any) -> None:
    from extract.tasks.train import train_backbone

    show(str(train_backbone(config)))


def _plan(config: Any) -> str:
    from extract.tasks.train import plan_backbone

    return plan_backbone(config)


main = choice_command(
    "train-backbone",
    "task",
    {name: Stage(row.config, _run, _plan) for name, row in TASKS.items()},
    help="Train a network on a task: VGG16 for saliency or segmentation, for extract-features "
    "--weights FILE to read, or the small "
    "networks of Kayhan and van Gemert (rook, red-green) and of Islam et al. (location, "
    "classification).",
    resume="run the command again without --overwrite to go on from the last finished epoch",
)
