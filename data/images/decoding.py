"""Image files of every kind, made into one kind: upright 8-bit RGB of a fixed size."""

from __future__ import annotations

import io
import logging
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

# PIL format -> file name endings. Formats that PIL hands to other programs (EPS), that it only
# recognises (HDF5) or that have no pixels (WMF) are left out on purpose.
FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "AVIF": (".avif", ".avifs"),
    "JPEG2000": (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
    "BMP": (".bmp", ".dib"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "TGA": (".tga",),
}
# Photographs too, but PIL cannot read them: better listed as bad than passed over in silence.
UNREADABLE = (".heic", ".heif")
SUFFIXES = frozenset(suffix for suffixes in FORMATS.values() for suffix in suffixes) | {*UNREADABLE}

MIN_SIDE = 16  # pixels; smaller than an icon, enlarged 14-fold and more, shows only the resizing
MAX_PIXELS = 2**27  # 134 megapixels: half a GiB of RGBA. Cameras stay below, bombs do not
MAX_BYTES = 2**30  # of a file: MAX_PIXELS of 16-bit RGBA, not compressed

_UPRIGHT = {  # EXIF orientation -> what undoes it
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# What PIL finds odd in a file it logs as well; without this it would land on stderr.
logging.getLogger("PIL").addHandler(logging.NullHandler())


class DecodingError(Exception):
    """Why a file is no image to work with, in one line."""


def read_image_file(path: Path) -> bytes:
    """The bytes of the file; raises `DecodingError` where there is nothing sensible to read."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise DecodingError("a folder that cannot be opened")
        # Opening a named pipe would wait for ever.
        if not stat.S_ISREG(status.st_mode):
            raise DecodingError("not a regular file")
        if status.st_size == 0:
            raise DecodingError("empty file")
        if status.st_size > MAX_BYTES:
            raise DecodingError(f"{status.st_size} bytes, more than the {MAX_BYTES} read")
        return path.read_bytes()
    except OSError as error:
        raise DecodingError(f"cannot be read: {error.strerror or error}") from None


def decode_image(data: bytes, size: int) -> NDArray[np.uint8]:
    """The image in `data`, upright, as RGB resized to (size, size, 3) uint8.

    The resize is bilinear with antialiasing and does not keep the aspect ratio: PIL's own, and so
    what torchvision's `Resize((size, size))` gives for PIL images. Several frames or pages: the
    first. Transparency is dropped, not painted over a background, as `convert("RGB")` and so
    torchvision's `ImageFolder` do. Colour profiles are not applied.

    Raises `DecodingError` with the reason for anything that cannot be decoded: damaged, in no
    format of `FORMATS`, below `MIN_SIDE` pixels a side or above `MAX_PIXELS` in all (found from
    the header, before memory is taken), in numbers without a known white.
    """
    try:
        with _quiet(), Image.open(io.BytesIO(data), formats=_available_formats()) as image:
            _check_size(image.width, image.height)
            image.load()
            orientation = image.getexif().get(ExifTags.Base.Orientation)
            rgb = _to_rgb(image)
            if orientation in _UPRIGHT:
                rgb = rgb.transpose(_UPRIGHT[orientation])
            return np.array(rgb.resize((size, size), Image.Resampling.BILINEAR))
    except DecodingError:
        raise
    except UnidentifiedImageError:  # its message holds a memory address
        raise DecodingError("damaged, not an image, or in a format that cannot be read") from None
    except Exception as error:  # damaged files make PIL raise errors of every kind
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DecodingError(f"cannot be decoded: {reason}") from None


def _available_formats() -> list[str]:
    # An older PIL, or one built without a codec, knows fewer.
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _check_size(width: int, height: int) -> None:
    if min(width, height) < MIN_SIDE:
        raise DecodingError(f"{width}x{height} pixels, fewer than {MIN_SIDE} a side")
    if width * height > MAX_PIXELS:
        raise DecodingError(f"{width}x{height} pixels, more than {MAX_PIXELS} in all")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        # The high byte, as PIL takes it from 16-bit colour: undoes both x 257 and x 256.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise DecodingError(
            f"32-bit numbers (PIL mode {image.mode}) with no known white: save it with 8 or 16 bits"
        )
    elif image.mode in ("RGBa", "La"):  # colours multiplied by their opacity
        image = image.convert("RGBA" if image.mode == "RGBa" else "LA")
    return image.convert("RGB")


_quiet_lock = threading.Lock()
_quiet_depth = 0
_quiet_filters = warnings.catch_warnings()


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings from PIL, in any thread, while any thread is inside.

    `warnings.catch_warnings` alone is not for threads: each would restore what another changed.
    """
    global _quiet_depth, _quiet_filters
    with _quiet_lock:
        if _quiet_depth == 0:
            _quiet_filters = warnings.catch_warnings()
            _quiet_filters.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
        _quiet_depth += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_depth -= 1
            if _quiet_depth == 0:
                _quiet_filters.__exit__(None, None, None)
