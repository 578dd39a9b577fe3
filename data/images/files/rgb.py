"""Pixels of every kind, made into one kind: 8-bit RGB whose zero is black."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

# 16-bit numbers none of which reaches this many bits are 10, 12 or 14 bits in a wide file.
LEAST_BITS = 15

_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # TIFF 6.0, section 8 and 19
_WHITE_IS_ZERO = 0
_SIGNED = 2


class DecodingError(Exception):
    """Why a file is no image to work with, in one line."""


def to_rgb(image: Image.Image, *, bits: int | None = None) -> Image.Image:
    """A loaded image as 8-bit RGB.

    Of 16-bit numbers the high byte, as PIL takes it from 16-bit colour: undoes both x 257 and
    x 256. Transparency is dropped, not painted over a background, as `convert("RGB")` does.

    Args:
        image: of any mode; CMYK as PIL has it, 0 without ink.
        bits: of each number in the file (`bits_per_sample`); None: PIL has scaled them.

    Raises `DecodingError` for numbers whose white is not known: 32-bit ones, and 16-bit ones that
    use less than 15 bits, which would come out dark.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return Image.fromarray(_grey(image, bits)).convert("RGB")
    if image.mode in ("I", "F"):
        raise DecodingError(
            f"32-bit numbers (PIL mode {image.mode}) with no known white: save it with 8 or 16 bits"
        )
    if image.mode in ("RGBa", "La"):  # colours multiplied by their opacity
        image = image.convert("RGBA" if image.mode == "RGBa" else "LA")
    rgb = image if image.mode == "RGB" else image.convert("RGB")  # which would copy
    if bits == 16:
        _check_range(int(np.max(rgb.getextrema())) << 8 | 0xFF)
    return rgb


def bits_per_sample(image: ImageFile.ImageFile, data: bytes) -> int | None:
    """Bits of each number in the file `data`, which `image` was opened from and not loaded yet.

    None: they need no scaling, or PIL does it.

    Raises `DecodingError` for signed numbers.
    """
    if image.format == "PNG":
        return data[24]  # of IHDR, which comes first
    if image.format == "PPM":  # values below another largest one are scaled by PIL
        return 16 if image.tile[0].args in ("I;16B", ("RGB", 65535), ("L", 65535)) else None
    if image.format == "JPEG2000" and image.mode.startswith("I;16"):
        return 16
    tags = getattr(image, "tag_v2", None)
    if tags is None:
        return None
    if tags.get(_SAMPLE_FORMAT, (1,))[0] == _SIGNED:
        raise DecodingError("signed numbers with no known white: save it with 8 bits, unsigned")
    return int(tags.get(_BITS_PER_SAMPLE, (1,))[0])


def _grey(image: Image.Image, bits: int | None) -> NDArray[np.uint8]:
    wide = np.asarray(image)
    if bits == 16:
        _check_range(int(wide.max()))
    grey = (wide >> ((bits or 16) - 8)).astype(np.uint8)
    # PIL turns grey of 1 to 8 bits round where zero is white, and leaves 16 bits as they are.
    if getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        np.subtract(255, grey, out=grey)
    return grey


def _check_range(most: int) -> None:
    if 0 < most < 2 ** (LEAST_BITS - 1):
        raise DecodingError(
            f"16-bit numbers, none above {most}: fewer bits in a wide file would come out dark, "
            "scale them to all 16 or save it with 8"
        )
