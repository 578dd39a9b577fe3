"""Masks: read, checked, and brought to the size the network trains at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from data.images.decoding import DecodingError, decode_image, read_image_file
from extract.tasks.metrics import VOID

SALIENT = 128  # smallest grey that is salient: half, the custom for PASCAL-S's graded masks


def check_pair(image: Path, mask: Path, classes: int | None) -> str | None:
    """Why the two files are no pair to train on, in one line; None when they are.

    `classes`: of a segmentation; None for saliency.
    """
    try:
        decode_image(read_image_file(image), 16)
        with Image.open(image) as opened:
            size = opened.size
            if opened.getexif().get(ExifTags.Base.Orientation, 1) != 1:
                return f"{image.name}: turned by EXIF, its mask may not be; save it upright"
        values = _read_values(mask)
    except DecodingError as error:
        return f"{image.name}: {error}"
    except OSError as error:
        return f"{mask.name}: not a readable mask ({error})"
    if values.shape[:2] != size[::-1]:
        height, width = values.shape[:2]
        return f"{mask.name}: {width}x{height} pixels, its image {size[0]}x{size[1]}"
    reason = _wrong_values(values, classes)
    return f"{mask.name}: {reason}" if reason else None


def read_mask(path: Path, classes: int | None, size: int) -> NDArray[np.uint8]:
    """The mask at (size, size) uint8, nearest neighbour.

    Saliency (`classes` None): 1 where salient, from masks of {0, 1} or greys cut at half.
    Segmentation: the class of each pixel, 255 where it does not count.
    """
    values = _read_values(path)
    if classes is None:
        grey = values if values.ndim == 2 else values[:, :, 0]
        values = (grey >= (SALIENT if grey.max() > 1 else 1)).astype(np.uint8)
    resized = Image.fromarray(values).resize((size, size), Image.Resampling.NEAREST)
    return np.array(resized)


def _read_values(path: Path) -> NDArray[np.uint8]:
    """Grey values or palette indices (h, w), or colours (h, w, 3)."""
    with Image.open(path) as image:
        if image.mode in ("L", "P"):
            return np.array(image)
        return np.array(image.convert("L" if image.mode in ("1", "LA") else "RGB"))


def _wrong_values(values: NDArray[np.uint8], classes: int | None) -> str | None:
    if values.ndim == 3 and (classes is not None or (values != values[:, :, :1]).any()):
        return "coloured; save one value for each pixel"
    if classes is not None:
        wrong = np.unique(values[(values >= classes) & (values != VOID)])
        if len(wrong):
            shown = ", ".join(map(str, wrong[:5]))
            return f"values {shown}; the classes are 0 to {classes - 1}, and {VOID} is void"
    elif not values.any():
        return "nothing is salient"
    elif 1 < values.max() < SALIENT:
        return f"values up to {values.max()}; salient is {SALIENT} to 255, or 1 of 0 and 1"
    return None
