"""Masks: read as what they mean, checked, and brought to the size the network trains at."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from data.images.decoding import DecodingError, decode_image

VOID = 255  # pixels of a segmentation that count neither for nor against
SALIENT = 128  # smallest grey of 255 that is salient: half, the custom for PASCAL-S's graded masks
_DEEP = 257  # times an 8-bit grey: the same grey of 16 bits
_STEPS = {"L;2": 85, "L;4": 17}  # PIL spreads greys of 2 and 4 bits over 0 to 255

Values = NDArray[np.uint8] | NDArray[np.uint16]


def check_pair(image: bytes, mask: bytes, classes: int | None) -> tuple[str, str] | None:
    """Which of two files, "image" or "mask", is none to train on, and why; None for a pair.

    `classes`: of a segmentation; None for saliency.
    """
    try:
        decode_image(image, 16)
        with Image.open(io.BytesIO(image)) as opened:
            size = opened.size
            if opened.getexif().get(ExifTags.Base.Orientation, 1) != 1:
                return "image", "turned by EXIF, its mask may not be; save it upright"
    except DecodingError as error:
        return "image", str(error)
    try:
        values = _read_values(mask, classes)
    except DecodingError as error:
        return "mask", str(error)
    except UnidentifiedImageError:  # its message holds a memory address
        return "mask", "not a readable mask"
    except Exception as error:  # damaged files make PIL raise errors of every kind
        return "mask", f"not a readable mask ({error})"
    if values.shape != size[::-1]:
        height, width = values.shape
        return "mask", f"{width}x{height} pixels, its image {size[0]}x{size[1]}"
    reason = _wrong_values(values, classes)
    return ("mask", reason) if reason else None


def read_mask(mask: bytes, classes: int | None, size: int) -> NDArray[np.uint8]:
    """The mask at (size, size) uint8, nearest neighbour.

    Saliency (`classes` None): 1 where salient, from masks of {0, 1} or greys cut at half.
    Segmentation: the class of each pixel, 255 where it does not count.
    """
    values = _read_values(mask, classes)
    if classes is None:
        values = values >= (1 if values.max() == 1 else _half(values))  # type: ignore[assignment]
    resized = Image.fromarray(values.astype(np.uint8)).resize(
        (size, size), Image.Resampling.NEAREST
    )
    return np.array(resized)


def _read_values(mask: bytes, classes: int | None) -> Values:
    """Greys (saliency) or classes (segmentation) of each pixel: (h, w), of 8 or 16 bits.

    The task decides what a palette means. A saliency mask is a picture: its greys are what one
    sees, whatever the order of its palette, and what is transparent is black. In a segmentation
    the palette is decoration, as in VOC, and its index is the class.
    Raises `DecodingError` for colours and for numbers without a known white.
    """
    with Image.open(io.BytesIO(mask)) as image:
        step = _STEPS.get(str(image.tile[0][3]), 1) if image.tile else 1
        image.load()
        if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
            return np.asarray(image).astype(np.uint16)
        if image.mode in ("I", "F"):
            raise DecodingError(f"32-bit numbers (PIL mode {image.mode}); save it with 8 or 16")
        if classes is None:
            return _greys(np.asarray(image.convert("RGBA")))
        if image.mode == "1":
            return np.asarray(image).astype(np.uint8)
        if image.mode in ("L", "P"):
            return np.asarray(image) // np.uint8(step)
        if image.mode in ("LA", "PA"):
            return np.asarray(image)[:, :, 0]
    raise DecodingError("coloured; save one value for each pixel")


def _greys(colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The greys (h, w) of RGBA (h, w, 4) over black; `DecodingError` for other colours."""
    grey, opacity = colours[:, :, 0], colours[:, :, 3]
    if ((colours[:, :, :3] != grey[:, :, None]) & (opacity > 0)[:, :, None]).any():
        raise DecodingError("coloured; save one value for each pixel")
    if (opacity == 255).all():
        return grey
    return np.asarray((grey.astype(np.uint16) * opacity + 127) // 255, dtype=np.uint8)


def _half(values: NDArray[Any]) -> int:
    return SALIENT * _DEEP if values.dtype == np.uint16 else SALIENT


def _wrong_values(values: Values, classes: int | None) -> str | None:
    if classes is not None:
        wrong = np.unique(values[(values >= classes) & (values != VOID)])
        if len(wrong):
            shown = ", ".join(map(str, wrong[:5]))
            return f"values {shown}; the classes are 0 to {classes - 1}, and {VOID} is void"
        if (values == VOID).all():
            return "every pixel is void"
    elif not values.any():
        return "nothing is salient"
    elif 1 < values.max() < (least := _half(values)):
        most = np.iinfo(values.dtype).max
        return f"values up to {values.max()}; salient is {least} to {most}, or 1 of 0 and 1"
    return None
