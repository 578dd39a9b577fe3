"""Everything the rook networks can be told. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from data.tools.errors import UserError
from data.tools.settings import check_settings, setting, spelled

ROOK_PADDINGS = ("zeros", "none", "reflect", "replicate", "circular", "full")


@dataclass(frozen=True)
class RookConfig:
    """Settings of `train_rooks`; each field is an option of `train-backbone --task rook`."""

    task: str = setting("What to train for.", choices=("rook",))
    padding: str = setting(
        "What the convolution sees beyond the border.", "zeros", choices=ROOK_PADDINGS
    )
    seeds: int = setting("Networks, of the seeds 0, 1, ...", 30, at_least=1, at_most=10_000)
    margin: int = setting("Pixels between the rook and the border.", 0, at_least=0, at_most=8)
    images: tuple[Path, ...] = setting(
        "Two images of your own (give it twice), class 0 first, read as 32x32 greys; "
        "by default the drawn rook at two corners.",
        (),
    )
    results_dir: Path = setting("Folder to write scores to.", Path("results"))

    def __post_init__(self) -> None:
        check_settings(self)
        name = spelled("images")
        if len(self.images) not in (0, 2):
            raise UserError(f"{name}: {len(self.images)} different images given; give two, or none")
        if self.images and self.margin:
            raise UserError(
                f"{spelled('margin')} {self.margin} is of the drawn rook: leave it out, or {name}"
            )
