"""Everything the training of a backbone can be told, and the words it is told in. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from data.tools.command import setting
from data.tools.errors import UserError
from data.vocabulary import PADDINGS, TASKS
from extract.backbones.normalization import parse_normalization

LAST = "-last"  # ends the stem of the last epoch's checkpoint
HELD_OUT = 10  # every tenth training image is kept to choose the best epoch by


@dataclass(frozen=True)
class TaskConfig:
    """Settings of `train_backbone`; each field is an option of `train-backbone`."""

    task: str = setting("What to train for.", choices=TASKS)
    out: Path = setting(
        "Checkpoint of the best epoch; that of the last epoch lies beside it, as NAME-last."
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
    results_dir: Path = setting("Folder to write scores to (tasks.csv).", Path("results"))
    weights: str = setting("Weights to start from: random, imagenet or a checkpoint.", "random")
    levels: str = setting(
        "Levels the decoder reads. Nothing beyond the deepest is trained.", "f3+f4+f5"
    )
    image_size: int = setting("Pixels a side; padding none needs 196 to reach f5, 92 f4.", 224)
    classes: int | None = setting(
        "Classes of a segmentation folder, the background included; VOC and the generated set "
        "know theirs.",
        None,
    )
    limit: int | None = setting(
        "At most that many training images, and that many of each test set.", None
    )
    epochs: int = setting("Passes over the training images.", 20)
    batch_size: int = setting("Images per step.", 8)
    learning_rate: float = setting("Largest rate of Adam, after warm-up.", 1e-4)
    normalization: str = setting(
        "What the backbone sees: [0, 1] (none), as extract-features does by default, imagenet, "
        "half, caffe, caffe:B,G,R or MEAN/STD.",
        "none",
    )
    device: str = setting("auto, cpu or cuda[:N].", "auto")
    precision: str = setting(
        "Format of the large products; weights, loss and optimiser stay fp32.",
        "auto",
        choices=("auto", "fp32", "bf16"),
    )
    num_workers: int = setting("Processes that decode images.", 0)
    seed: int = setting("Of the weights, the order of the images and the generated set.", 0)
    overwrite: bool = setting("Begin again instead of going on from the last epoch.", False)

    def __post_init__(self) -> None:
        _check_name(self.out)
        parse_normalization(self.normalization)  # refuses what it does not know
        for name in ("epochs", "batch_size", "image_size", "classes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"--{name.replace('_', '-')} {value}: must be at least 1")
        if self.limit is not None and self.limit < HELD_OUT:
            raise UserError(
                f"--limit {self.limit} leaves no image to validate on: give at least {HELD_OUT}"
            )
        if self.learning_rate <= 0:
            raise UserError(f"--learning-rate {self.learning_rate}: must be above 0")
        for name in ("seed", "num_workers"):
            if getattr(self, name) < 0:
                raise UserError(f"--{name.replace('_', '-')} must not be negative")


def _check_name(out: Path) -> None:
    """`UserError` unless the stem of `out` can name a run: a folder, and a cell of a table."""
    remedy = "give a name like saliency.pt"
    if not out.stem.strip(".") or not out.name.isprintable() or out.is_dir():
        what = "a folder" if out.is_dir() else "no name for a checkpoint"
        raise UserError(f"--out {str(out)!r}: {what}; {remedy}")
    if out.stem.endswith(LAST):
        raise UserError(
            f"--out {str(out)!r}: NAME{LAST} is where the last epoch of NAME is kept; {remedy}"
        )
