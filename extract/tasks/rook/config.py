"""Everything the rook networks can be told. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from data.tools.errors import UserError
from data.tools.printable import printable
from data.tools.settings import setting, spelled
from data.vocabulary import SMALL_PADDINGS
from extract.tasks.config import TaskConfig


@dataclass(frozen=True)
class RookConfig(TaskConfig):
    """Settings of the rook; the networks of all seeds are trained as one bank."""

    task: str = setting("What to train for.", choices=("rook",))
    padding: str = setting(
        "What the convolution sees beyond the border.", "zeros", choices=SMALL_PADDINGS
    )
    seeds: int = setting(
        "Networks, of the seeds SEED, SEED + 1, ...", 30, at_least=1, at_most=10_000
    )
    margin: int = setting("Pixels between the rook and the border.", 0, at_least=0, at_most=8)
    images: tuple[Path, ...] = setting(
        "Two images of your own (give it twice), class 0 first, read as 32x32 greys; "
        "by default the drawn rook at two corners.",
        (),
    )

    family: ClassVar[str] = "rook"

    def __post_init__(self) -> None:
        super().__post_init__()
        name = spelled("images")
        if len(self.images) not in (0, 2):
            raise UserError(f"{name}: {len(self.images)} different images given; give two, or none")
        if self.images and self.margin:
            raise UserError(
                f"{spelled('margin')} {self.margin} is of the drawn rook: leave it out, or {name}"
            )

    @property
    def default_run(self) -> str:
        """Of all that tells two banks apart, but the pictures themselves."""
        images = "+".join(path.stem for path in self.images) or f"margin{self.margin}"
        first = f"-from{self.seed}" if self.seed else ""
        return printable(f"{images}-{self.padding}-{self.seeds}seeds{first}")

    def each_run(self) -> list[TaskConfig]:
        """One bank."""
        return [self]
