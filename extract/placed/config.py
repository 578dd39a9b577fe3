"""Everything the extraction of a placed study can be told. No torch."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import ClassVar

from data.cache.names import safe_name
from data.cache.pooled.identity import PlacedIdentity
from data.images.placed.patches import PATCH_SETS
from data.images.placed.placement import CANVASES, Layout, PlacedImages
from data.images.placed.shifts import MOST, SHIFTS
from data.tools.errors import UserError
from data.tools.settings import setting, spelled
from data.vocabulary import IMAGE_SIZE
from extract.config import ExtractConfig

GRID, CORNERS, SHIFTED = KINDS = ("grid", "corners", "shifts")
WHOLE, PLACED = "whole", "placed"
STRIDE = 32  # pixels, of the last level of the usual networks
# PermuteNet's CIFAR images; Kayhan and van Gemert's; whole images.
_PATCH_SIZE = {GRID: 32, CORNERS: 56, SHIFTED: IMAGE_SIZE}
# Options that say something of images placed in this way, and not of all placed ones.
_OF_KIND = {
    GRID: ("grid", "canvas", "calibration", "aligned", "mirrored"),
    CORNERS: ("border", "gap", "canvas", "calibration", "aligned", "mirrored"),
    SHIFTED: ("shift", "most"),
}

# What says something of images in folders alone, and of feature caches alone.
_OF_FOLDERS = ("test", "limit", "num_shards", "shard_index")
_OF_FEATURE_CACHES = (
    *("crop_border", "score_transposed", "compression"),
    *("jobs", "backend", "scheduler"),
)


@dataclass(frozen=True)
class PlacedConfig(ExtractConfig):
    """Settings of `extract_placed`; those of `ExtractConfig` mean what they mean there.

    The size of the images follows from the layout, and the precision `auto` is fp32.
    """

    placed: str | None = setting(
        "Lay patches on a canvas and keep pooled vectors, instead of maps: at every cell of a "
        "grid, in two corners inside a border, or whole images under small shifts.",
        None,
        choices=KINDS,
    )
    grid: tuple[int, ...] = setting(
        "Placed: cells a side (repeatable; default 3 and 7).", (), at_least=2
    )
    border: tuple[int, ...] = setting(
        "Placed in corners: black pixels around the canvas (repeatable; default 0).", (), at_least=0
    )
    gap: int | None = setting(
        "Placed in corners: canvas pixels between the two places (default: what makes their "
        f"distance a multiple of {STRIDE} pixels, so that strides sample both alike).",
        None,
        at_least=0,
    )
    canvas: tuple[str, ...] = setting(
        f"Placed: {', '.join(CANVASES)} or RRGGBB (repeatable; default black).", ()
    )
    patches: str = setting(
        f"Placed: {', '.join(PATCH_SETS)}, or a folder of images.", PATCH_SETS[0]
    )
    patch_size: int | None = setting(
        "Placed: pixels a side of a patch (default 32 in a grid, 56 in corners, 224 under shifts).",
        None,
        at_least=1,
    )
    patch_limit: int = setting("Placed: at most this many patches.", 200, at_least=1)
    calibration: str | None = setting(
        "Placed: whether untrained BatchNorms have the statistics of whole training images, as in "
        "a feature cache (default in a grid), or of the placed ones, as the networks of Kayhan and "
        "van Gemert (default in corners).",
        None,
        choices=(WHOLE, PLACED),
    )
    aligned: bool = setting(
        "Placed: keep aligned maps instead, in a feature cache below a folder of its own, for "
        "train-probes --segmentation; needs patches with classes.",
        False,
    )
    mirrored: bool = setting(
        "Placed: turn every image left to right, in a cache of its own: what train-probes "
        "--channels --rank flip compares with.",
        False,
    )
    shift: tuple[str, ...] = setting(
        "Placed under shifts: another window of a larger image, zeros or the image's other side "
        "where it came from (repeatable; default all).",
        (),
        choices=SHIFTS,
    )
    most: int = setting(
        "Placed under shifts: pixels of the largest; 1, 2, ... as far are taken, down and to the "
        "right.",
        MOST,
        at_least=1,
    )
    patch_root: Path | None = setting("Placed: the folder that holds CIFAR.", None)

    GROUPS: ClassVar = {
        **ExtractConfig.GROUPS,
        "Placed studies": (
            *("placed", "grid", "border", "gap", "canvas", "patches", "patch_size"),
            *("patch_limit", "calibration", "shift", "most", "aligned", "mirrored"),
            "patch_root",
        ),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        own = [f.name for f in fields(PlacedConfig) if f not in fields(ExtractConfig)]
        given = [f.name for f in fields(self) if getattr(self, f.name) != f.default]
        for name in given:
            if self.placed is None and name in own:
                raise UserError(f"{spelled(name)} without {spelled('placed')}: nothing is placed")
            if self.placed is not None and name in self._idle:
                study = f"{spelled('placed')} {self.placed}"
                raise UserError(f"{study} has no use for {spelled(name)}: leave it out")
        if self.image_size not in (IMAGE_SIZE, *self.image_sizes):
            raise UserError(
                f"{spelled('image_size')} {self.image_size}: the layout gives the images "
                f"{' and '.join(map(str, self.image_sizes))} pixels; leave it out"
            )

    @property
    def command(self) -> str:
        """As that of `ExtractConfig`; makes the caches of all layouts and canvases."""
        folder = Path(self.patches).expanduser()
        own = self.patches not in PATCH_SETS and folder.is_dir()
        whole = replace(
            self,
            patches=str(folder.absolute()) if own else self.patches,
            patch_root=self.patch_root and self.patch_root.absolute(),
        )
        return super(PlacedConfig, whole).command

    @property
    def _idle(self) -> tuple[str, ...]:
        """Options that say nothing of placed images of this kind."""
        assert self.placed is not None
        of_others = {name for names in _OF_KIND.values() for name in names}
        idle = sorted(of_others - {*_OF_KIND[self.placed]})
        return (*idle, *_OF_FOLDERS, *(("calibration",) if self.aligned else _OF_FEATURE_CACHES))

    @property
    def calibrated_on(self) -> str:
        """The images of untrained BatchNorms' statistics: `WHOLE` or `PLACED`.

        `PLACED` in corners unless told otherwise: the networks of figure 4 of Kayhan and van Gemert
        (2020) run in training mode, and with the statistics of whole images its curve hardly falls.
        """
        return self.calibration or (PLACED if self.placed == CORNERS else WHOLE)

    @property
    def layouts(self) -> list[Layout]:
        """One for each grid, or each border."""
        assert self.placed is not None
        size = self.patch_size or _PATCH_SIZE[self.placed]
        if self.placed == CORNERS:
            gap = -size % STRIDE if self.gap is None else self.gap
            return [Layout(CORNERS, 2, size, border, gap) for border in self.border or (0,)]
        if self.placed == SHIFTED:
            return [Layout(kind, 1, size, most=self.most) for kind in self.shift or SHIFTS]
        return [Layout(GRID, grid, size) for grid in self.grid or (3, 7)]

    @property
    def image_sizes(self) -> list[int]:
        """Pixels a side of the images that the backbone sees, of every layout."""
        return [layout.image_size for layout in self.layouts] if self.placed else [self.image_size]

    def aligned_folder(self, images: PlacedImages) -> Path:
        """Where the feature caches of placed images go: never beside those of other images."""
        layout = images.layout
        size = f"P{layout.patch_size}"
        parts = ["placed-maps", layout.name, images.canvas, size, images.patches.name]
        parts += ["mirrored"] * self.mirrored
        return self.cache_dir / safe_name("-".join(parts))

    def placed_folder(self, identity: PlacedIdentity, layout: Layout) -> Path:
        """Where the pooled cache of this identity goes."""
        parts = ["placed", identity.backbone, identity.weights, identity.padding]
        if self.protocol != "paper":
            parts.append(self.protocol)
        if self.normalization is not None:
            parts.append(f"normalization-{self.normalization}")
        parts += [layout.name, identity.canvas, f"P{layout.patch_size}", identity.patches]
        if identity.calibrated_on == PLACED:
            parts.append("calibrated-placed")
        if self.mirrored:
            parts.append("mirrored")
        if self.seed:
            parts.append(f"seed{self.seed}")
        return self.cache_dir / safe_name("-".join(parts))
