"""Image files with mask files: checked once, and read as they were when they were checked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from data.images.decoding import DecodingError, decode_image, read_image_file
from data.tools.errors import UserError
from data.tools.progress import progress
from extract.tasks.maps.pairs.masks import check_pair, read_mask

SHOWN = 5  # files named in a message, of possibly hundreds


@dataclass(frozen=True)
class File:
    """A file, and what it held when it was checked."""

    path: Path
    sha256: str

    def read(self) -> bytes:
        """Its bytes; `UserError` where they are gone or are others now."""
        try:
            content = read_image_file(self.path)
        except DecodingError as error:
            raise UserError(
                f"{self.path}: {error}, and could be read when the training began: put it back "
                "and run the same command again"
            ) from error
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise UserError(
                f"{self.path} has changed since the training began: put it back and run the same "
                "command again, or begin again with --overwrite"
            )
        return content


@dataclass(frozen=True)
class FilePairs:
    """Image files and mask files of the same order."""

    name: str
    classes: tuple[str, ...]
    images: tuple[File, ...]
    masks: tuple[File, ...]

    @property
    def sha256(self) -> str:
        """Of names and contents, in order."""
        lines = (
            f"{image.path.name} {image.sha256} {mask.sha256}"
            for image, mask in zip(self.images, self.masks, strict=True)
        )
        return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()

    def __len__(self) -> int:
        return len(self.images)

    def load(self, index: int, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Pair `index`, resized: the image with antialiasing, the mask by nearest neighbour.

        `UserError` where a file has changed since it was checked, or is gone.
        """
        image = decode_image(self.images[index].read(), size)
        return image, read_mask(self.masks[index].read(), len(self.classes) or None, size)


def checked_pairs(
    name: str, classes: tuple[str, ...], pairs: Sequence[tuple[Path, Path]]
) -> FilePairs:
    """The pairs, once every file has been decoded and hashed; `UserError` names the unusable."""

    def examine(image: Path, mask: Path) -> tuple[File, File] | str:
        try:
            contents = {path: read_image_file(path) for path in (image, mask)}
        except DecodingError as error:
            return f"{image.name} or its mask: {error}"
        fault = check_pair(contents[image], contents[mask], len(classes) or None)
        if fault is not None:
            return f"{(image if fault[0] == 'image' else mask).name}: {fault[1]}"
        first, second = (File(p, hashlib.sha256(c).hexdigest()) for p, c in contents.items())
        return first, second

    # Threads: PIL lets go of the lock while it decodes.
    parallel = Parallel(n_jobs=-1, prefer="threads", return_as="generator")
    found: Iterator[tuple[File, File] | str] = parallel(delayed(examine)(*pair) for pair in pairs)
    results = list(progress(found, total=len(pairs), description=f"checking {name}", unit="pairs"))
    refuse(name, [reason for reason in results if isinstance(reason, str)])
    images, masks = zip(*results, strict=True)
    return FilePairs(name, classes, images, masks)


def refuse(where: object, reasons: Sequence[str]) -> None:
    """Raise `UserError` if there are reasons to."""
    if reasons:
        raise UserError(
            f"{where}: {len(reasons)} pairs cannot be used ({shown(reasons)}): mend or remove them"
        )


def shown(items: Sequence[str]) -> str:
    """The first few of many, and how many more there are."""
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return "; ".join(items[:SHOWN]) + more
