"""Placed images as an image source, for caches of whole maps: what lies where is in the names."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from data.images.placed.patches import Pixels
from data.images.placed.placement import TEST, TRAIN, PlacedImages
from data.images.source import ImageRecord
from data.tools.errors import UserError

_NAME = re.compile(r"patch-(\d+)-(\w+)-row-(\d+)-column-(\d+)")


@dataclass(frozen=True)
class PlacedName:
    """What a placed image shows."""

    patch: int
    shown: str  # class of the patch
    row: int
    column: int  # of its cell

    def __str__(self) -> str:
        return f"patch-{self.patch:05d}-{self.shown}-row-{self.row}-column-{self.column}"

    @classmethod
    def parse(cls, name: str) -> PlacedName | None:
        """The parts of the name of a record; None where it is another's."""
        found = _NAME.fullmatch(name)
        if found is None:
            return None
        patch, shown, row, column = found.groups()
        return cls(int(patch), shown, int(row), int(column))


@dataclass(frozen=True)
class PlacedSource:
    """Placed images of patches that have classes; test patches are the set "test".

    Raises `UserError` where the patches have none.
    """

    images: PlacedImages

    def __post_init__(self) -> None:
        patches = self.images.patches
        if not patches.class_names:
            raise UserError(
                f"--aligned with --patches {patches.name}: nothing is known of what they show; use "
                "shapes, digits or cifar10"
            )

    @cached_property
    def records(self) -> Sequence[ImageRecord]:
        """Every patch at every cell."""
        images = self.images
        cells, patches = images.layout.cells, images.patches
        found = []
        for index in range(len(images)):
            patch, cell = divmod(index, len(cells))
            shown = re.sub(r"\W", "_", patches.class_names[patches.classes[patch]])
            name = PlacedName(patch, shown, *cells[cell])
            part = "test" if images.split[patch] == TEST else "train"
            found.append(ImageRecord(str(name), part, _digest(images, index)))
        return tuple(found)

    def load(self, index: int) -> Pixels:
        """Image `index`, (S, S, 3) uint8 RGB."""
        return self.images.load(index)


@dataclass(frozen=True)
class TrainingImages:
    """The first `count` placed images of training patches, for what is estimated of a network."""

    images: PlacedImages
    count: int

    @cached_property
    def _indices(self) -> list[int]:
        cells = len(self.images.layout.cells)
        patches = np.flatnonzero(self.images.split == TRAIN)
        return [patch * cells + cell for patch in patches for cell in range(cells)][: self.count]

    @cached_property
    def records(self) -> Sequence[ImageRecord]:
        """Every training patch at every cell, as far as `count` goes."""
        return tuple(
            ImageRecord(f"placed-{index:05d}", "train", _digest(self.images, index))
            for index in self._indices
        )

    def load(self, index: int) -> Pixels:
        """Image `index` of these, (S, S, 3) uint8 RGB."""
        return self.images.load(self._indices[index])


def _digest(images: PlacedImages, index: int) -> str:
    key = f"{images.patches.sha256} {images.layout} {images.canvas} {images.seed} {images.mirrored}"
    return hashlib.sha256(f"{key} {index}".encode()).hexdigest()
