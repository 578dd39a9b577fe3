"""`train-backbone`: parse, call, print."""

from __future__ import annotations

from typing import Any

from data.tools.command import choice_command
from data.tools.terminal import show
from data.vocabulary import TASKS
from extract.tasks.config import TaskConfig
from extract.tasks.rook.config import RookConfig


def _run_maps(config: Any) -> None:
    from extract.tasks.train import train_backbone

    show(str(train_backbone(config)))


def _run_rook(config: Any) -> None:
    from extract.tasks.rook.run import train_rooks

    show(str(train_rooks(config)))


main = choice_command(
    "task",
    {**dict.fromkeys(TASKS, (TaskConfig, _run_maps)), "rook": (RookConfig, _run_rook)},
    help="Train a network on a task: VGG16 for saliency or segmentation, for extract-features "
    "--weights FILE to read, or the small networks of figure 1 of Kayhan and van Gemert (rook).",
    resume="run the command again without --overwrite to go on from the last finished epoch",
)
