"""Everything the readings of placed studies can be told. No torch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from data.cache.pooled.reader import POOLINGS
from data.tools.errors import UserError
from data.tools.settings import setting, spelled
from probe.placed.names import READING_NAMES, SOLVER_NAMES
from probe.segmentation.config import SegmentationConfig

# What of `SegmentationConfig` means something here too.
_SHARED = ("cache_dir", "results_dir", "solver", "backbone", "levels", "threads", "overwrite")
_CLUSTER = ("jobs", "backend", "scheduler")


@dataclass(frozen=True)
class PlacedProbeConfig(SegmentationConfig):
    """Settings of `train_placed`; those of `SegmentationConfig` mean what they mean there."""

    placed: bool = setting(
        "Read places and classes from every pooled cache (extract-features --placed), instead of "
        "maps from feature caches.",
        False,
    )
    solver: str = setting(
        "sgd: the protocol's training; exact: the optimum of every linear head of depth 1, solved "
        "for in one pass. Placed: exact (ridge) or softmax regression, by default both.",
        "sgd",
        choices=("sgd", *SOLVER_NAMES),
    )
    reading: tuple[str, ...] = setting(
        "Placed: what a head may see of a vector (repeatable; default all).",
        (),
        choices=READING_NAMES,
    )
    pooling: tuple[str, ...] = setting(
        "Placed: mean or maximum of a map (repeatable; default both).", (), choices=POOLINGS
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.placed:
            self._check_placed()
        elif self.solver == "softmax":
            raise UserError(f"{spelled('solver')} softmax without {spelled('placed')}: use exact")
        for name in ("reading", "pooling"):
            if getattr(self, name) and not self.placed:
                raise UserError(f"{spelled(name)} without {spelled('placed')}: nothing is pooled")

    def _check_placed(self) -> None:
        for field in dataclasses.fields(SegmentationConfig):
            used = field.name in (*_SHARED, *_CLUSTER)
            if not used and getattr(self, field.name) != field.default:
                raise UserError(
                    f"{spelled('placed')} has no use for {spelled(field.name)}: leave it out"
                )
        joined = [levels for levels in self.levels if "+" in levels or levels == "all"]
        if joined:
            raise UserError(
                f"{spelled('placed')} reads one level at a time: give {spelled('levels')} f5, not "
                f"{joined[0]}"
            )

    @property
    def solvers(self) -> tuple[str, ...]:
        """The solvers asked for."""
        return SOLVER_NAMES if self.solver == "sgd" else (self.solver,)
