"""Everything the analysis stage can be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from data.tools.errors import UserError
from data.tools.settings import check_settings, setting, spelled
from data.vocabulary import KEPT_IMAGES

FIGURE_FORMATS = ("pdf", "png")
FORMATS = ("md", "csv", "tex", "html", *FIGURE_FORMATS)


def _tables() -> tuple[str, ...]:
    from analysis.tables.table import find_tables

    return tuple(find_tables())


@dataclass(frozen=True)
class TablesConfig:
    """Settings of `make_tables`; each field is an option of `make-tables`."""

    results_dir: Path = setting(
        "Folder that train-probes and train-backbone wrote.", Path("results")
    )
    out: Path = setting("Folder to write to.", Path("tables"))
    table: tuple[str, ...] = setting(
        "Table of the paper, R2 of the reproduction report, or study: every readout measured "
        "(repeatable; default all but 5a, 5b and 6, which need train-backbone).",
        (),
        choices=_tables,
    )
    format: tuple[str, ...] = setting(
        "What to write: tables as md, csv or tex, the report as html, figures as pdf or png "
        "(repeatable; default all).",
        (),
        choices=FORMATS,
    )
    backbone: tuple[str, ...] = setting("Only this backbone, or pixels (repeatable).", ())
    levels: tuple[str, ...] = setting(
        "Tables and figures only of heads that read these levels: f5, f1+f2 or all (repeatable).",
        (),
    )
    figure_images: int = setting(
        "Images in figure 7: the first of the test set.",
        KEPT_IMAGES,
        at_least=1,
        at_most=KEPT_IMAGES,
    )
    compare: bool = setting(
        "Only compare backbones: print SPC of single levels by relative depth, write compare.md "
        "and .csv and figures/spc_by_depth.pdf and .png.",
        False,
    )
    contrast: str | None = setting(
        "Only contrast runs that differ in this alone: print paired differences, write "
        "contrast_NAME.md and .csv.",
        None,
        choices=("padding", "weights", "backbone", "normalization", "crop_border", "seed"),
    )
    claims: bool = setting(
        "Only test the paper's claims: print a line for each, write claims.md, .csv and .json.",
        False,
    )

    GROUPS: ClassVar = {  # titles in the help of the command
        "What is read": ("results_dir", "backbone", "levels"),
        "What is made": ("out", "table", "format", "figure_images"),
        "One thing alone": ("compare", "contrast", "claims"),
    }

    def __post_init__(self) -> None:
        check_settings(self)
        if self.claims and self.compare:
            raise UserError(
                f"{spelled('claims')} and {spelled('compare')} each print one thing only: leave "
                "one out"
            )
