"""Everything the training of a backbone for maps can be told. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from data.tools.device import check_device
from data.tools.settings import setting
from data.vocabulary import PADDINGS, TASKS
from extract.backbones.normalization import parse_normalization
from extract.tasks.config import TaskConfig

HELD_OUT = 10  # every tenth training image is kept to choose the best epoch by


@dataclass(frozen=True)
class MapConfig(TaskConfig):
    """Settings of the tasks saliency and segmentation."""

    task: str = setting("What to train for.", choices=TASKS)
    out: Path = setting(
        "Checkpoint of the best epoch; that of the last epoch lies beside it, as NAME-last. By "
        "default in the run's folder of results; saliency and segmentation need a name."
    )
    padding: str = setting(
        "What the backbone's convolutions see beyond the border.", "zeros", choices=PADDINGS
    )
    data: Path | None = setting(
        "Training set: a folder of images and masks, or VOC 2012 (VOCdevkit, VOC2012 or a folder "
        "of it); by default the generated set of the task.",
        None,
    )
    test: tuple[Path, ...] = setting(
        "Folder to score the best epoch on (repeatable). VOC 2012 and the generated sets bring "
        "their own; without any, the held-out images alone are scored, epoch by epoch.",
        (),
    )
    weights: str = setting("Weights to start from: random, imagenet or a checkpoint.", "random")
    levels: str = setting(
        "Levels the decoder reads. Nothing beyond the deepest is trained.", "f3+f4+f5"
    )
    image_size: int = setting(
        "Pixels a side; padding none needs 196 to reach f5, 92 f4.", 224, at_least=1
    )
    classes: int | None = setting(
        "Classes of a segmentation folder, the background included; VOC and the generated set "
        "know theirs.",
        None,
        at_least=1,
    )
    limit: int | None = setting(
        "At most that many training images, and that many of each test set.",
        None,
        check=lambda limit: _check_limit(limit),
    )
    epochs: int = setting("Passes over the training images.", 20, at_least=1)
    batch_size: int = setting("Images per step.", 8, at_least=1)
    learning_rate: float = setting(
        "Largest rate of Adam, after warm-up.", 1e-4, check=lambda rate: _check_rate(rate)
    )
    normalization: str = setting(
        "What the backbone sees: [0, 1] (none), as extract-features does by default, imagenet, "
        "half, caffe, caffe:B,G,R or MEAN/STD.",
        "none",
    )
    mirror: bool = setting(
        "Show every training image mirrored left-right, its mask too, in half of the epochs.", False
    )
    device: str = setting("auto, cpu or cuda[:N].", "auto", check=check_device)
    precision: str = setting(
        "Format of the large products; weights, loss and optimiser stay fp32.",
        "auto",
        choices=("auto", "fp32", "bf16"),
    )
    num_workers: int = setting("Processes that decode images.", 0, at_least=0)

    family: ClassVar[str] = "tasks"

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_normalization(self.normalization)  # refuses what it does not know


def _check_limit(limit: int) -> None:
    if limit < HELD_OUT:
        raise ValueError(f"leaves no image to validate on: give at least {HELD_OUT}")


def _check_rate(rate: float) -> None:
    if rate <= 0:
        raise ValueError("must be above 0")
