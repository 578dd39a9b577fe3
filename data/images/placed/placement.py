"""Placed images: every patch of a set at every cell of a canvas."""

from __future__ import annotations

import string
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from data.images.placed.patches import Patches, Pixels
from data.images.placed.shifts import SHIFTS, needed, shifted
from data.images.synthetic import noise_image
from data.stream import Stream
from data.tools.errors import UserError

CANVASES = ("black", "white", "mean", "noise")  # and RRGGBB
TRAIN, HELD_OUT, TEST = 0, 1, 2  # the parts that patches are split into
_SHARES = (0.7, 0.8)  # of the patches in order: training up to the first, held out to the second
_SPLIT_KEY = 5


@dataclass(frozen=True)
class Layout:
    """Where the cells of a canvas lie.

    A grid of k x k cells, numbered by rows (PermuteNet: label = row * k + column), tiles the
    canvas. Two corners are its first and last cell for k = 2, with a gap between the cells, inside
    a black border (Kayhan and van Gemert 2020, figure 4: a canvas of 112 pixels in the paper, of
    120 in their code). Under a shift the patch is the whole image, and cell k is where it lies
    after k pixels down and to the right.
    """

    kind: str  # "grid", "corners" or a shift
    grid: int  # k, cells a side
    patch_size: int  # P, pixels a side
    border: int = 0  # pixels, black, on all sides
    gap: int = 0  # pixels of canvas between neighbouring cells
    most: int = 0  # pixels, of the largest shift

    @property
    def image_size(self) -> int:
        """S, pixels a side."""
        return self.canvas_size + 2 * self.border

    @property
    def source_size(self) -> int:
        """Pixels a side of the patches that it takes."""
        return needed(self.kind, self.patch_size, self.most)

    @property
    def canvas_size(self) -> int:
        """Pixels a side of the canvas, without its border."""
        return self.grid * self.patch_size + (self.grid - 1) * self.gap

    @property
    def name(self) -> str:
        """What folders call it."""
        if self.kind in SHIFTS:
            return f"{self.kind}{self.most}"
        if self.kind == "grid":
            return f"g{self.grid}"
        return f"corners-b{self.border}" + (f"-gap{self.gap}" if self.gap else "")

    @property
    def cells(self) -> list[tuple[int, int]]:
        """Row and column of every cell, in the order of their numbers; in pixels under a shift."""
        if self.kind in SHIFTS:
            return [(pixels, pixels) for pixels in range(self.most + 1)]
        if self.kind == "corners":
            return [(0, 0), (self.grid - 1, self.grid - 1)]
        return [divmod(cell, self.grid) for cell in range(self.grid**2)]


@dataclass(frozen=True)
class PlacedImages:
    """Image `patch * cells + cell` shows the patch at the cell; picklable."""

    patches: Patches
    layout: Layout
    canvas: str  # "black", "white", "mean", "noise" or RRGGBB
    seed: int
    mirrored: bool = False  # every image, canvas and all, turned left to right

    def __post_init__(self) -> None:
        is_colour = len(self.canvas) == 6 and set(self.canvas) <= set(string.hexdigits)
        if self.canvas not in CANVASES and not is_colour:
            raise UserError(
                f"--canvas {self.canvas!r}: use {', '.join(CANVASES)} or a colour as RRGGBB"
            )

    def __len__(self) -> int:
        return len(self.patches.pixels) * len(self.layout.cells)

    @cached_property
    def split(self) -> NDArray[np.uint8]:
        """For every patch whether it is for training, held out, or for testing, (N,)."""
        count = len(self.patches.pixels)
        order = Stream(self.seed, _SPLIT_KEY).order(count)
        first, second = (round(share * count) for share in _SHARES)
        split = np.full(count, TEST, np.uint8)
        split[order[:first]] = TRAIN
        split[order[first:second]] = HELD_OUT
        return split

    def load(self, index: int) -> Pixels:
        """Image `index`, (S, S, 3) uint8 RGB."""
        patch, cell = divmod(index, len(self.layout.cells))
        image = self._image(patch, *self.layout.cells[cell])
        return np.ascontiguousarray(image[:, ::-1]) if self.mirrored else image

    def _image(self, patch: int, row: int, column: int) -> Pixels:
        layout, pixels = self.layout, self.patches.pixels[patch]
        if layout.kind in SHIFTS:
            return shifted(pixels, layout.kind, layout.patch_size, row)
        size, border = layout.patch_size, layout.border
        top, left = ((size + layout.gap) * place for place in (row, column))
        canvas = self._canvas(patch, layout.canvas_size)
        canvas[top : top + size, left : left + size] = pixels
        return np.pad(canvas, ((border, border), (border, border), (0, 0)))

    def _canvas(self, patch: int, size: int) -> Pixels:
        if self.canvas == "noise":  # the same one under a patch at all cells
            return noise_image(patch, self.seed, size)
        return np.full((size, size, 3), self._colour, np.uint8)

    @cached_property
    def _colour(self) -> Pixels:
        if self.canvas == "mean":
            train = self.patches.pixels[self.split == TRAIN]
            return np.round(train.mean((0, 1, 2))).astype(np.uint8)
        code = {"black": "000000", "white": "ffffff"}.get(self.canvas, self.canvas)
        return np.frombuffer(bytes.fromhex(code), np.uint8)
