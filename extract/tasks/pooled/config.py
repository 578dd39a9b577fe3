"""Everything the networks with global pooling can be told. No torch."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar

from data.tools.device import check_device
from data.tools.errors import UserError
from data.tools.printable import printable
from data.tools.settings import setting, spelled
from data.vocabulary import PADDINGS
from extract.tasks.config import TaskConfig

LOCATION, CLASSIFICATION = POOLED_TASKS = ("location", "classification")
GAP, PERMUTE, LINEAR = HEADS = ("gap", "permute", "linear")
PATCHES = ("shapes", "digits", "cifar10", "cifar100")  # which have classes
NETWORKS = ("small", "resnet18")
STRIDE, BLUR = DOWNSAMPLES = ("stride", "blur")
ADAM, SGD = OPTIMIZERS = ("adam", "sgd")
_RATES = {ADAM: 1e-3, SGD: 0.1}
CROP_SHARE = 8  # windows that consistency is scored on: 7/8 of an image, Zhang's 224 of 256
LEAST_PATCHES = 10
# Settings of which a run's name need not speak: what does not change its numbers, what every run
# has a name for, and where things lie.
_UNNAMED = {"task", "out", "results_dir", "seed", "seeds", "overwrite", "patch_root", "device"}


@dataclass(frozen=True)
class PooledConfig(TaskConfig):
    """Settings of the tasks location and classification."""

    task: str = setting("What to train for.", choices=POOLED_TASKS)
    head: str = setting(
        "As published, a 3x3 convolution before global pooling (gap: GAPNet), or a linear layer "
        "after it whose inputs are shuffled in every batch (permute: PermuteNet); linear is that "
        "one without the shuffle.",
        LINEAR,
        choices=HEADS,
    )
    grid: int | None = setting(
        "Cells a side of the canvas that patches are laid on, one cell an image (default 3 for "
        "location; for classification 1, the patch is the image).",
        None,
        at_least=1,
    )
    patches: str = setting(
        "Patches: generated shapes, scikit-learn's digits, or CIFAR.", "shapes", choices=PATCHES
    )
    patch_size: int = setting("Pixels a side of a patch.", 32, at_least=8)
    patch_limit: int | None = setting(
        "At most that many patches, and of CIFAR that many test patches (default 2000 shapes, all "
        "of the other sets).",
        None,
        at_least=LEAST_PATCHES,
    )
    patch_root: Path | None = setting("The folder that holds CIFAR; nothing is downloaded.", None)
    classes: int | None = setting(
        "Use the first so many classes of the set, to match the number of cells.", None, at_least=2
    )
    network: str = setting(
        "Five convolutions, or ResNet-18 without its max pooling.", NETWORKS[0], choices=NETWORKS
    )
    downsample: str = setting(
        "What halves a map: strides, or the same operation at stride 1 and a blur (BlurPool "
        "Tri-3).",
        STRIDE,
        choices=DOWNSAMPLES,
    )
    padding: str = setting(
        "What convolutions and pools see beyond the border, those of the head included.",
        PADDINGS[0],
        choices=PADDINGS,
    )
    augshift: tuple[float, ...] = setting(
        "AugShift's lambda: two random crops of every image are classified, and lambda times the "
        "squared difference of their pooled vectors is added; 0 only classifies both. Without it, "
        "images are not cropped. Repeatable: a network for each.",
        (),
        at_least=0,
    )
    mirror: bool = setting("Mirror patches left-right at random in training.", False)
    epochs: int = setting("Passes over the training patches.", 20, at_least=1)
    batch_size: int = setting("Images per step.", 48, at_least=2)
    optimizer: str = setting(
        "Adam with betas .5 and .999 (PermuteNet's code), or SGD with momentum .9, weight decay "
        "5e-4 and the rate divided by 10 after 2/5 and 4/5 of the steps (usual on CIFAR).",
        ADAM,
        choices=OPTIMIZERS,
    )
    learning_rate: float | None = setting(
        "Default .001 for Adam, .1 for SGD.", None, check=lambda rate: _check_rate(rate)
    )
    device: str = setting("auto, cpu or cuda[:N].", "auto", check=check_device)

    family: ClassVar[str] = "pooled"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.task == LOCATION and self.grid == 1:
            raise UserError(f"{spelled('grid')} 1: there is one cell; give at least 2 for location")
        if self.task == LOCATION and self.classes:
            raise UserError(
                f"{spelled('classes')} {self.classes}: location has the cells of the grid; leave "
                "it out, or train for classification"
            )
        if self.augshift and self.cells_a_side > 1:
            raise UserError(
                f"{spelled('augshift')} {self.augshift[0]:g}: crops are of whole images; leave it "
                f"out, or train for classification with {spelled('grid')} 1"
            )

    @property
    def cells_a_side(self) -> int:
        """k of the k x k cells."""
        return self.grid or (3 if self.task == LOCATION else 1)

    @property
    def smallest_side(self) -> int:
        """Pixels a side of the smallest image that the network is to see."""
        side = self.cells_a_side * self.patch_size
        return side - side // CROP_SHARE if self.cells_a_side == 1 else side

    @property
    def rate(self) -> float:
        """The learning rate, of the first step."""
        return _RATES[self.optimizer] if self.learning_rate is None else self.learning_rate

    @property
    def default_run(self) -> str:
        """The task, what is not the default, and the seed."""
        changed = [
            f"{field.name.replace('_', '')}{_in_a_name(getattr(self, field.name))}"
            for field in fields(self)
            if field.name not in _UNNAMED and getattr(self, field.name) != field.default
        ]
        return printable("-".join([self.task, *changed, f"seed{self.seed}"]))

    def each_run(self) -> list[TaskConfig]:
        """A network for every lambda and seed."""
        if len(self.augshift) < 2:
            return super().each_run()
        return [
            run
            for weight in self.augshift
            for run in replace(self, augshift=(weight,), out=self._out_of(weight)).each_run()
        ]

    def _out_of(self, weight: float) -> Path | None:
        if self.out is None:
            return None
        return self.out.with_name(f"{self.out.stem}-augshift{weight:g}{self.out.suffix}")


def _in_a_name(value: Any) -> str:
    return "+".join(f"{item:g}" for item in value) if isinstance(value, tuple) else str(value)


def _check_rate(rate: float) -> None:
    if rate <= 0:
        raise ValueError("must be above 0")
