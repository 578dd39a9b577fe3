"""What a source of images is: records in order, and how each image is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from data.vocabulary import SYNTHETIC_SETS


class ImageRecord(NamedTuple):  # there may be millions
    """One image of a set."""

    name: str  # path relative to the set's folder, or "sample-00012"
    images: str  # image set: "train", "test", "black", "white", "noise" or a name of your own
    sha256: str  # of the file's bytes, or of the pixels where there is no file


@dataclass(frozen=True)
class BadImage:
    """One image that could not be decoded."""

    name: str
    images: str
    reason: str


def shared_images(records: Sequence[ImageRecord]) -> list[str]:
    """A line for every other set that holds images of the training set, by their hashes."""
    scored = [r for r in records if r.images not in ("train", *SYNTHETIC_SETS)]
    wanted = {record.sha256 for record in scored}
    trained = {r.sha256: r.name for r in records if r.images == "train" and r.sha256 in wanted}
    shared: dict[str, list[ImageRecord]] = {}
    for record in scored:
        if record.sha256 in trained:
            shared.setdefault(record.images, []).append(record)
    return [
        f"{len(both)} images are in both train and {images} (the first is "
        f"{trained[both[0].sha256]} and {both[0].name}): heads are scored on images they were "
        "trained on"
        for images, both in shared.items()
    ]


@runtime_checkable
class ImageSource(Protocol):
    """Images from anywhere. Must survive `pickle`: worker processes load images too.

    A class with these two is a source; it may also have `bad`, a sequence of `BadImage` that are
    listed and left out, and `notes`, lines for stderr.
    """

    @property
    def records(self) -> Sequence[ImageRecord]:
        """The images in order, always the same; equal hashes mean equal images."""

    def load(self, index: int) -> NDArray[np.uint8]:
        """The image of `records[index]`, (height, width, 3) uint8 RGB, of any size.

        Called from several threads at once. Raises `UserError` when it is not the image that the
        record says.
        """
