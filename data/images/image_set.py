"""All images of a study: the sets it is given, then black, white and noise."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data.images.arrays import ArrayImages, hash_arrays
from data.images.decoding import fit
from data.images.folder import FileImages, scan_files, scan_folder
from data.images.generated import SAMPLES, SYNTHETIC, generate_images
from data.images.records import StudyRecords
from data.images.source import BadImage, ImageRecord, ImageSource, shared_images
from data.tools.errors import UserError
from data.tools.printable import printable
from data.vocabulary import IMAGE_SET_NAME, IMAGE_SIZE


@dataclass(frozen=True)
class ImageSet:
    """Every image of a study, in order, and how to load each. Can be pickled."""

    sources: Mapping[str, ImageSource]  # image set -> where its images come from
    image_size: int  # pixels a side
    score_transposed: bool = False  # all but the training images are given transposed

    @cached_property
    def records(self) -> StudyRecords:
        """The images of all sets, in order."""
        return StudyRecords({images: source.records for images, source in self.sources.items()})

    @property
    def bad(self) -> tuple[BadImage, ...]:
        """What looks like an image and cannot be used."""
        return tuple(bad for source in self.sources.values() for bad in getattr(source, "bad", ()))

    def __len__(self) -> int:
        return len(self.records)

    def unchanged(self, rows: Iterable[int]) -> bool:
        """Whether all files of these images have been looked at, or are as when they were.

        Where an index of earlier looks was believed (`open_images`), few have been.
        """
        by_set: dict[int, list[int]] = defaultdict(list)
        for row in rows:
            number, index = self._place(row)
            by_set[number].append(index)
        sources = list(self.sources.values())
        checks = ((getattr(sources[n], "unchanged", None), own) for n, own in by_set.items())
        return all(check is None or check(own) for check, own in checks)

    @property
    def is_remembered(self) -> bool:
        """Whether some files are known from an index of earlier looks alone."""
        return any(getattr(source, "remembered", None) for source in self.sources.values())

    def _place(self, row: int) -> tuple[int, int]:
        """The number of the set that a row is of, and its index there."""
        ends = self.records.ends
        number = bisect_right(ends, row)
        return number, row - (ends[number - 1] if number else 0)

    def load(self, index: int) -> NDArray[np.uint8]:
        """The image of `records[index]`, (image_size, image_size, 3) uint8 RGB.

        Raises `UserError` when it is gone or is not the one that was found.
        """
        pixels = self._upright(index)
        scored = self.records[index].images != "train"
        return pixels.swapaxes(0, 1) if scored and self.score_transposed else pixels

    def resized(self, size: int) -> ImageSet:
        """The same images at another size, each made from the image itself."""
        sources = {
            images: replace(source, image_size=size)
            if isinstance(source, (FileImages, ArrayImages))
            else source  # gives its images in their own size
            for images, source in self.sources.items()
        }
        return replace(self, sources=sources, image_size=size)

    def _upright(self, index: int) -> NDArray[np.uint8]:
        number, own = self._place(index)
        source = list(self.sources.values())[number]
        pixels = source.load(own)
        if pixels.shape == (self.image_size, self.image_size, 3) and pixels.dtype == np.uint8:
            return pixels
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
            record = self.records[index]
            raise UserError(
                f"{record.images} image {record.name}: {type(source).__name__} returns "
                f"{pixels.dtype} of shape {pixels.shape}: return uint8 (height, width, 3)"
            )
        return fit(Image.fromarray(pixels), self.image_size)

    @property
    def places(self) -> dict[str, str]:
        """Where the images of each set but the synthetic ones come from, in words."""
        return {
            images: getattr(source, "place", "memory")
            for images, source in self.sources.items()
            if images not in SYNTHETIC
        }

    @property
    def notes(self) -> list[str]:
        """What a user should know of these images: one line each."""
        lines = [note for source in self.sources.values() for note in getattr(source, "notes", ())]
        return [*lines, *self._embedded_notes(), *shared_images(self.records)]

    def _embedded_notes(self) -> list[str]:
        embedded = [images for images, place in self.places.items() if place == "samples"]
        if len(embedded) == len(self.places):
            return []
        return [
            f"the {images} images are the {len(self.sources[images].records)} embedded samples: "
            f"no --{images} was given"
            for images in embedded
        ]


def open_images(
    images: Mapping[str, Any] | ImageSource,
    *,
    limit: int | None,
    seed: int,
    num_workers: int,
    image_size: int = IMAGE_SIZE,
    scans: Path | None = None,
    look_at_all: bool = True,
) -> ImageSet:
    """Every image of a study: train, test, sets of other names, black (1), white (1), noise (8).

    Args:
        images: image set -> its images: a folder, a list of files, a sequence, Dataset or dict
            of images (`hash_arrays`), an `ImageSource`, or None for embedded samples (256 train,
            64 test), which also stand in where "train" or "test" is missing. Or one
            `ImageSource` whose records name their sets.
        limit: at most this many images of each set, the first in order.
        seed: of the samples and the noise, 0 or more.
        num_workers: threads that decode.
        image_size: pixels a side of the images loaded.
        scans: folder of what earlier looks at files found (`data.images.files.scan_index`).
        look_at_all: ask every file whether it has changed since `scans` came to know it. Otherwise
            folders are asked alone, where nothing is missing there: see `ImageSet.unchanged`.

    Files are ordered by their path relative to the folder. Each is decoded once here, or was so
    when `scans` came to know it, so a record stands for an image that can be loaded; what cannot
    be decoded is in `bad`, with the reason.

    Raises `UserError` when a set holds no image that can be used, or has no name to use.
    """
    if limit is not None and limit < 1:
        raise UserError(f"limit {limit} leaves no images: give 1 or more")
    if seed < 0:
        raise UserError(f"seed {seed} is negative: give 0 or more")
    if image_size < 1:
        raise UserError(f"image size {image_size} is no size: give 1 or more pixels")
    opening = _Opening(limit, seed, num_workers, image_size, scans, look_at_all)
    given = _by_set(images) if isinstance(images, ImageSource) else images
    sources: dict[str, ImageSource] = {}
    for name, content in ({"train": None, "test": None} | dict(given)).items():
        _check_set_name(name)
        sources[name] = opening.source(name, content)
    for name, names in SYNTHETIC.items():
        sources[name] = opening.generated(name, names)
    return ImageSet(sources, image_size)


def open_set(name: str, content: Any, *, image_size: int, num_workers: int) -> ImageSet:
    """The images of one set alone, of what `open_images` takes; raises as it does."""
    opening = _Opening(None, 0, num_workers, image_size)
    return ImageSet({name: opening.source(name, content)}, image_size)


def find_images(
    train: Path | None,
    test: Path | None,
    *,
    limit: int | None,
    seed: int,
    num_workers: int,
    image_size: int = IMAGE_SIZE,
) -> ImageSet:
    """`open_images` of two folders; None: the embedded samples."""
    return open_images(
        {"train": train, "test": test},
        limit=limit,
        seed=seed,
        num_workers=num_workers,
        image_size=image_size,
    )


@dataclass(frozen=True)
class _Opening:
    """How the sets of a study are opened."""

    limit: int | None
    seed: int
    num_workers: int
    image_size: int
    scans: Path | None = None
    look_at_all: bool = True

    def source(self, name: str, content: Any) -> ImageSource:
        """The set `name` of what `open_images` takes."""
        if content is None:
            if name not in SAMPLES:
                raise UserError(f"image set {name}: no images are given, and none are embedded")
            return self.generated(name, SAMPLES[name][: self.limit])
        if isinstance(content, ImageSource):
            rows = tuple(range(len(content.records))[: self.limit])
            return _Rows(content, rows, tuple(getattr(content, "bad", ())))
        if isinstance(content, str | Path):
            return scan_folder(name, Path(content), *self._scanning, look_at_all=self.look_at_all)
        if isinstance(content, Sequence) and content and isinstance(content[0], str | Path):
            paths = [Path(path) for path in content]
            return scan_files(name, paths, *self._scanning)
        return hash_arrays(name, content, limit=self.limit, image_size=self.image_size)

    @property
    def _scanning(self) -> tuple[int | None, int, int, Path | None]:
        return self.limit, self.image_size, self.num_workers, self.scans

    def generated(self, name: str, names: Sequence[str]) -> ImageSource:
        """The set `name` of generated images."""
        return generate_images(
            name, names, seed=self.seed, image_size=self.image_size, num_workers=self.num_workers
        )


@dataclass(frozen=True)
class _Rows:
    """Some images of another source."""

    source: ImageSource
    rows: tuple[int, ...]
    bad: tuple[BadImage, ...] = ()

    @property
    def records(self) -> tuple[ImageRecord, ...]:
        return tuple(self.source.records[row] for row in self.rows)

    def load(self, index: int) -> NDArray[np.uint8]:
        return self.source.load(self.rows[index])


def _by_set(source: ImageSource) -> dict[str, ImageSource]:
    rows: dict[str, list[int]] = {}
    for row, record in enumerate(source.records):
        rows.setdefault(record.images, []).append(row)
    bad = getattr(source, "bad", ())
    return {
        images: _Rows(source, tuple(numbers), tuple(b for b in bad if b.images == images))
        for images, numbers in rows.items()
    }


def _check_set_name(name: str) -> None:
    if name in SYNTHETIC:
        raise UserError(f"image set {name!r} is made here and cannot be given: give another name")
    if not re.fullmatch(IMAGE_SET_NAME, name):
        raise UserError(
            f"image set {printable(name)!r} is no name: give letters, digits, - and _, a letter "
            "first"
        )
