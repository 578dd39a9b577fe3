"""Images in files: a folder tree or a list of paths, each decoded once before it is trusted."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from data.images.decoding import (
    MAX_BYTES,
    DecodingError,
    UnreadableError,
    decode_image,
    read_image_file,
)
from data.images.files.formats import RAW_SUFFIXES
from data.images.files.kept_verdicts import Verdict
from data.images.files.scan_index import Remembered, ScanIndex
from data.images.files.stamps import Stamped
from data.images.files.walk import Found, find_files
from data.images.records import SetRecords
from data.images.source import BadImage, ImageRecord
from data.machine.budget import Budget
from data.machine.faults import with_retries
from data.tools.errors import UserError
from data.tools.printable import printable
from data.tools.progress import progress

_bytes_at_once = Budget(MAX_BYTES)  # of files in memory, whatever the number of threads


@dataclass(frozen=True)
class FileImages:
    """Images that are files."""

    root: Path | None  # names are relative to it; None: a list of files
    records: Sequence[ImageRecord]
    image_size: int  # pixels a side
    bad: tuple[BadImage, ...] = ()  # files that look like images and cannot be used
    notes: tuple[str, ...] = ()
    # What each was when it was looked at, where that was not in this run.
    remembered: Stamped | None = field(default=None, compare=False)

    @property
    def place(self) -> str:
        """Where they come from, in a cache's identity."""
        return "files" if self.root is None else str(self.root)

    def load(self, index: int) -> NDArray[np.uint8]:
        """The image of `records[index]`, (image_size, image_size, 3) uint8 RGB.

        Raises `UserError` when its file is gone or is not the one that was found.
        """
        record = self.records[index]
        path = (self.root or Path()) / record.name
        remedy = "was changed while it was in use: put it back or start again"
        try:
            pixels, sha256 = _decode_file(path, self.image_size)
        except DecodingError as error:
            raise UserError(f"{path} {remedy} ({error})") from None
        if sha256 != record.sha256:
            raise UserError(f"{path} {remedy} (its contents differ)")
        return pixels

    def unchanged(self, rows: Sequence[int]) -> bool:
        """Whether these were looked at in this run, or are what they were."""
        if self.remembered is None:
            return True
        names = [self.remembered.names[row] for row in rows]
        return Stamped(names, self.remembered.stamps[rows]).unchanged(self.root or Path())


def scan_folder(
    images: str,
    folder: Path,
    limit: int | None,
    image_size: int,
    num_workers: int,
    scans: Path | None,
    *,
    look_at_all: bool,
) -> FileImages:
    """Every image below `folder`, ordered by path, until `limit` of them are good.

    `scans`: folder of the indexes that spare decoding what is known (`ScanIndex`); without
    `look_at_all`, looking at the files too (`FileImages.unchanged`).

    Raises `UserError` when the folder does not exist or holds no image that can be decoded.
    """
    index = ScanIndex(scans, folder, num_workers)
    remembered = None if look_at_all else index.remembered(limit)
    if remembered is not None:
        return _of_index(images, folder, image_size, remembered)
    found = find_files(folder, num_workers)
    if not found.names:
        raise UserError(
            f"no images in {str(folder)!r} ({found}): give a folder with files such as .jpg and "
            ".png, or PIL's other formats"
        )
    index.hold(found)
    good, bad = _examine(images, folder, found.names, limit, image_size, index)
    if not good:
        raise UserError(
            f"none of the {len(bad)} images in {str(folder)!r} can be decoded "
            f"({bad[0].name}: {bad[0].reason}): give another folder"
        )
    notes = _notes(images, found, [record.name for record in good])
    return FileImages(folder, tuple(good), image_size, tuple(bad), notes)


def _of_index(images: str, folder: Path, image_size: int, found: Remembered) -> FileImages:
    """The images of a folder as they are known from earlier looks."""
    records = SetRecords(images, found.good, found.sha256)
    bad = tuple(BadImage(name, images, reason) for name, reason in found.bad)
    notes = _notes(images, found.found, found.good)
    return FileImages(folder, records, image_size, bad, notes, Stamped(found.good, found.stamps))


def _notes(images: str, found: Found, used: Sequence[str]) -> tuple[str, ...]:
    left_out = [f"left out of the {images} images: {found}"] if found.left_out else []
    return (*left_out, *_one_folder_note(images, used, found.names))


def scan_files(
    images: str,
    paths: Sequence[Path],
    limit: int | None,
    image_size: int,
    num_workers: int,
    scans: Path | None,
) -> FileImages:
    """The images of a list of files, in the order given; names are the paths as given."""
    names = [str(path) for path in paths]
    index = ScanIndex(scans, Path(), num_workers)
    good, bad = _examine(images, Path(), names, limit, image_size, index)
    if not good:
        raise UserError(
            f"none of the {len(bad)} {images} images can be decoded ({bad[0].name}: "
            f"{bad[0].reason}): give other files"
        )
    return FileImages(None, tuple(good), image_size, tuple(bad))


def _examine(
    images: str, root: Path, names: Sequence[str], limit: int | None, size: int, index: ScanIndex
) -> tuple[list[ImageRecord], list[BadImage]]:
    """Take files in order until `limit` are good: those that are, and those that are not."""
    good: list[ImageRecord] = []
    bad: list[BadImage] = []
    done = 0
    while done < len(names) and (limit is None or len(good) < limit):
        # No more than are still missing, so what is listed does not depend on the workers.
        batch = names[done : None if limit is None else done + limit - len(good)]
        verdicts = progress(
            index.verdicts(batch, lambda name: _verdict(root, name, size)),
            total=len(batch),
            description=f"checking {images} images",
            unit="images",
        )
        for name, verdict in zip(batch, verdicts, strict=True):
            if verdict.reason:
                bad.append(BadImage(_in_utf8(name), images, verdict.reason))
            else:
                good.append(ImageRecord(name, images, verdict.sha256))
        done += len(batch)
    return good, bad


def _verdict(root: Path, name: str, size: int) -> Verdict:
    """What the file is found to be when it is decoded; raises `UserError` as `_decode_file`."""
    if _in_utf8(name) != name:
        return Verdict("", "its name is not UTF-8: rename it", lasting=False)
    if PurePosixPath(name).suffix.lower() in RAW_SUFFIXES:
        return Verdict("", "a raw file of a camera: develop it to PNG or TIFF")
    try:
        _, sha256 = _decode_file(root / name, size)
    except DecodingError as error:
        return Verdict("", str(error), lasting=not isinstance(error, UnreadableError))
    return Verdict(sha256)


def _in_utf8(name: str) -> str:
    """The name, or how it is shown where its bytes are not UTF-8."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return printable(name)
    return name


def _decode_file(path: Path, size: int) -> tuple[NDArray[np.uint8], str]:
    """The image in the file, (size, size, 3) uint8, and the SHA-256 of its bytes.

    Raises `DecodingError` for a fault of the file, and `UserError`, after some attempts, for one
    of the machine.
    """
    try:
        with _bytes_at_once.share(_bytes_of(path)):
            data = read_image_file(path)
            pixels = with_retries(lambda: decode_image(data, size))
            return pixels, hashlib.sha256(data).hexdigest()
    except MemoryError:
        raise UserError(
            f"{path}: no memory to decode it, in several attempts: give fewer --num-workers or "
            "--jobs, or free memory, then run the same command again"
        ) from None
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror or error}), in several attempts: mend the "
            "disk or remove the file, then run the same command again"
        ) from error


def _bytes_of(path: Path) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0  # reading says why


def _one_folder_note(images: str, used: Sequence[str], found: Sequence[str]) -> list[str]:
    """A line where a limit has left one folder of several, and so perhaps one class."""
    if used[-1:] == found[-1:]:  # the limit has cut off nothing
        return []
    folders = {name.rpartition("/")[0] for name in found}
    left = {name.rpartition("/")[0] for name in used}
    if len(left) > 1 or len(folders) == 1:
        return []
    return [
        f"the limit takes {len(used)} {images} images from one folder of {len(folders)}, "
        f"{left.pop() or '.'}: the first in order, perhaps of one class"
    ]
