"""Images: found in folders or generated, decoded, ordered and hashed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from data.images.decoding import DecodingError, decode_image, read_image_file
from data.images.formats import SUFFIXES
from data.images.samples import TEST_SAMPLES, TRAIN_SAMPLES, sample_image
from data.images.synthetic import NOISE_IMAGES, black_image, noise_image, white_image
from data.tools.errors import UserError
from data.tools.progress import progress
from data.vocabulary import IMAGE_SIZE

T = TypeVar("T")


@dataclass(frozen=True)
class ImageRecord:
    """One image of a set."""

    name: str  # path relative to the set's folder, or "sample-00012"
    images: str  # image set: "train", "test", "black", "white" or "noise"
    sha256: str  # of the file's bytes, or of the pixels where there is no file


@dataclass(frozen=True)
class BadImage:
    """One image that could not be decoded."""

    name: str
    images: str
    reason: str


@dataclass(frozen=True)
class ImageSet:
    """Every image of a study, in order, and how to load each. Small, and can be pickled."""

    records: tuple[ImageRecord, ...]
    bad: tuple[BadImage, ...]  # files that look like images and cannot be used
    train: Path | None  # folder of the photographs; None: the embedded samples
    test: Path | None
    seed: int  # of the samples and the noise
    image_size: int  # pixels a side

    def __len__(self) -> int:
        return len(self.records)

    def load(self, index: int) -> NDArray[np.uint8]:
        """The image of `records[index]`, (image_size, image_size, 3) uint8 RGB.

        Raises `UserError` when its file is gone or is not the one that was found.
        """
        record = self.records[index]
        folder = {"train": self.train, "test": self.test}.get(record.images)
        if folder is None:
            return _generated(record.images, record.name, self.seed, self.image_size)
        path = folder / record.name
        remedy = "was changed while it was in use: put it back or start again"
        try:
            data = read_image_file(path)
        except DecodingError as error:
            raise UserError(f"{path} {remedy} ({error})") from None
        if hashlib.sha256(data).hexdigest() != record.sha256:
            raise UserError(f"{path} {remedy} (its contents differ)")
        return decode_image(data, self.image_size)


def find_images(
    train: Path | None,
    test: Path | None,
    *,
    limit: int | None,
    seed: int,
    num_workers: int,
    image_size: int = IMAGE_SIZE,
) -> ImageSet:
    """Every image of a study: train, test, then black (1), white (1) and noise (8).

    Args:
        train: folder searched with all folders below it; None: 256 embedded samples.
        test: the same for the test set; None: 64 other embedded samples.
        limit: at most this many train and this many test images, the first in order.
        seed: of the samples and the noise, 0 or more.
        num_workers: threads that decode.
        image_size: pixels a side of the images loaded.

    Files are ordered by their path relative to the folder. Each is decoded once here, so a record
    stands for an image that can be loaded; what cannot be decoded is in `bad`, with the reason.

    Raises `UserError` when a folder does not exist or holds no image that can be decoded.
    """
    if limit is not None and limit < 1:
        raise UserError(f"limit {limit} leaves no images: give 1 or more")
    if seed < 0:
        raise UserError(f"seed {seed} is negative: give 0 or more")
    if image_size < 1:
        raise UserError(f"image size {image_size} is no size: give 1 or more pixels")
    records: list[ImageRecord] = []
    bad: list[BadImage] = []
    samples = [_numbered("sample", number) for number in range(TRAIN_SAMPLES + TEST_SAMPLES)]
    sources = (("train", train, samples[:TRAIN_SAMPLES]), ("test", test, samples[TRAIN_SAMPLES:]))
    for images, folder, names in sources:
        if folder is None:
            records += _generated_records(images, names[:limit], seed, image_size, num_workers)
        else:
            found = _scan(images, folder, limit, image_size, num_workers)
            records += [item for item in found if isinstance(item, ImageRecord)]
            bad += [item for item in found if isinstance(item, BadImage)]
    noise = [_numbered("noise", number) for number in range(NOISE_IMAGES)]
    for images, names in (("black", ["black"]), ("white", ["white"]), ("noise", noise)):
        records += _generated_records(images, names, seed, image_size, num_workers)
    return ImageSet(tuple(records), tuple(bad), train, test, seed, image_size)


def _numbered(kind: str, number: int) -> str:
    return f"{kind}-{number:05d}"


def _generated(images: str, name: str, seed: int, size: int) -> NDArray[np.uint8]:
    """The image called `name` of a set that comes from no folder, (size, size, 3)."""
    if images == "black":
        return black_image(size)
    if images == "white":
        return white_image(size)
    number = int(name.rpartition("-")[2])
    return (noise_image if images == "noise" else sample_image)(number, seed, size)


def _generated_records(
    images: str, names: list[str], seed: int, size: int, num_workers: int
) -> list[ImageRecord]:
    def record(name: str) -> ImageRecord:
        pixels = _generated(images, name, seed, size)
        return ImageRecord(name, images, hashlib.sha256(pixels.tobytes()).hexdigest())

    return list(_parallel(record, names, num_workers))


def _scan(
    images: str, folder: Path, limit: int | None, size: int, num_workers: int
) -> list[ImageRecord | BadImage]:
    """Every file of an image suffix below `folder`, in order, until `limit` of them are good."""

    def examine(name: str) -> ImageRecord | BadImage:
        if "\udc80" <= max(name) <= "\udcff":  # how Python shows bytes that are not UTF-8
            shown = os.fsencode(name).decode("utf-8", "backslashreplace")
            return BadImage(shown, images, "its name is not UTF-8: rename it")
        try:
            data = read_image_file(folder / name)
            decode_image(data, size)
        except DecodingError as error:
            return BadImage(name, images, str(error))
        return ImageRecord(name, images, hashlib.sha256(data).hexdigest())

    names = _candidates(folder)
    if not names:
        raise UserError(
            f"no images in {str(folder)!r}: give a folder with files ending in "
            + ", ".join(sorted(SUFFIXES))
        )
    found: list[ImageRecord | BadImage] = []
    good = done = 0
    while done < len(names) and (limit is None or good < limit):
        # No more than are still missing, so what is listed does not depend on the workers.
        batch = names[done : None if limit is None else done + limit - good]
        results = _parallel(examine, batch, num_workers)
        for item in progress(
            results, total=len(batch), description=f"checking {images} images", unit="images"
        ):
            found.append(item)
            good += isinstance(item, ImageRecord)
        done += len(batch)
    if not good:
        first = found[0]
        assert isinstance(first, BadImage)
        raise UserError(
            f"none of the {len(found)} images in {str(folder)!r} can be decoded "
            f"({first.name}: {first.reason}): give another folder"
        )
    return found


def _candidates(folder: Path) -> list[str]:
    """Paths relative to `folder`, "/" between parts, of all files that look like images, sorted.

    Hidden files and folders are skipped. Links are followed, but no folder is searched twice, so
    links in a circle come to an end. A folder that cannot be opened is listed like a file.
    """
    if not folder.is_dir():
        reason = "is not a folder" if folder.exists() else "does not exist"
        raise UserError(f"image folder {str(folder)!r} {reason}: give a folder of images")
    seen: set[tuple[int, int]] = set()
    names: list[str] = []

    def keep_unreadable(error: OSError) -> None:
        names.append(Path(error.filename).relative_to(folder).as_posix())  # listed as bad later

    for parent, folders, files in os.walk(folder, followlinks=True, onerror=keep_unreadable):
        status = os.stat(parent)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        relative = Path(parent).relative_to(folder)
        names += [
            (relative / name).as_posix()
            for name in files
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES
        ]
    return sorted(names)


def _parallel(function: Callable[[str], T], names: list[str], num_workers: int) -> Iterator[T]:
    """`function` of every name, in order. Threads: PIL and NumPy let go of the lock at work."""
    parallel = Parallel(n_jobs=max(1, num_workers), prefer="threads", return_as="generator")
    yield from parallel(delayed(function)(name) for name in names)
