"""Everything the targeting of channels can be told. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import ClassVar

from data.channels.spread import SHARES
from data.tools.device import check_device
from data.tools.errors import UserError
from data.tools.printable import printable
from data.tools.settings import setting, spelled
from extract.tasks.config import TaskConfig

DEEPLAB = "deeplabv3_resnet50"  # torchvision's, of COCO images with the classes of VOC
FLIP = "flip"
RANKS = (*SHARES, FLIP)
REMOVE = (50, 100, 200, 300)
FILLS = ("mean", "zero")


@dataclass(frozen=True)
class TargetingConfig(TaskConfig):
    """Settings of the task targeting; the decoders of all removals are trained as one bank."""

    task: str = setting("What to train for.", choices=("targeting",))
    _: KW_ONLY
    weights: str = setting(
        "What to take channels from: a checkpoint of --task segmentation, torchvision's "
        f"{DEEPLAB} or a file of its state dict."
    )
    level: str | None = setting(
        "Level to take channels from, of those the decoder reads (default: the deepest).", None
    )
    rank: str = setting(
        "Which channels are foremost: by eta squared, the share of their variance that lies "
        "between the places (rows, columns, rings) of the training images, or as published, by "
        "how much their mean changes when an image is mirrored (flip).",
        SHARES[0],
        choices=RANKS,
    )
    remove: tuple[int, ...] = setting(
        "Remove so many of the foremost (repeatable; default "
        f"{', '.join(map(str, REMOVE))} where the level has more).",
        (),
        at_least=1,
    )
    draws: int = setting("Random sets of as many channels to compare with.", 3, at_least=1)
    fill: str = setting(
        "What a removed channel holds, its training mean or, as published, zero.",
        FILLS[0],
        choices=FILLS,
    )
    data: Path | None = setting(
        "Training set: a folder of images and masks, or VOC 2012; by default the generated set "
        "that the checkpoint was trained on.",
        None,
    )
    test: tuple[Path, ...] = setting("Folder to score on (repeatable).", ())
    classes: int | None = setting(
        "Classes of a segmentation folder, the background included.", None, at_least=1
    )
    limit: int | None = setting(
        "At most that many training images, and that many of each test set.", None, at_least=10
    )
    image_size: int | None = setting(
        "Pixels a side (default: those of the training, 224 for DeepLab).", None, at_least=1
    )
    epochs: int = setting("Passes to retrain the decoders.", 5, at_least=1)
    batch_size: int = setting("Images per step.", 8, at_least=1)
    learning_rate: float = setting(
        "Largest rate of Adam, after warm-up.", 1e-3, check=lambda rate: _check_rate(rate)
    )
    device: str = setting("auto, cpu or cuda[:N].", "auto", check=check_device)
    num_workers: int = setting("Processes that decode images.", 0, at_least=0)

    GROUPS: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **TaskConfig.GROUPS,
        "Targeting": ("level", "rank", "remove", "draws", "fill"),
    }
    family: ClassVar[str] = "targeting"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seeds > 1:
            raise UserError(
                f"{spelled('seeds')} {self.seeds}: the network is one; give more "
                f"{spelled('draws')} of random channels"
            )

    @property
    def default_run(self) -> str:
        """The network and the ranking."""
        seed = f"-seed{self.seed}" if self.seed else ""
        return printable(f"{Path(self.weights).stem}-{self.rank}{seed}")


def _check_rate(rate: float) -> None:
    if rate <= 0:
        raise ValueError("must be above 0")
