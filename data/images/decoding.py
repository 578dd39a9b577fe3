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
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from data.images.files.formats import FORMATS, HEAD_BYTES, why_unreadable
from data.images.files.metadata import orientation_sources, without_metadata
from data.images.files.rgb import DecodingError, bits_per_sample, to_rgb
from data.machine.budget import Budget
from data.machine.faults import is_fault_of_the_file, with_retries

MIN_SIDE = 16  # pixels; smaller than an icon, enlarged 14-fold and more, shows only the resizing
MAX_PIXELS = 2**27  # 134 megapixels: half a GiB of RGBA. Cameras stay below, bombs do not
MAX_BYTES = 2**30  # of a file: MAX_PIXELS of 16-bit RGBA, not compressed

# Whatever the number of threads, they decode no more pixels at once than one image may have.
_pixels_at_once = Budget(MAX_PIXELS)
_NEW_SUBFILE_TYPE = 254  # TIFF 6.0, section 8; bit 0: a preview of another page

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


class UnreadableError(DecodingError):
    """Why the bytes of a file cannot be had, whatever they are: another user may read them."""


def read_image_file(path: Path) -> bytes:
    """The bytes of the file, after `with_retries` where the disk fails.

    Raises `DecodingError` where there is nothing sensible to read (`UnreadableError`: where it is
    missing or forbidden), and `OSError` where the machine is at fault and not the file.
    """
    try:
        return with_retries(lambda: _read(path))
    except OSError as error:
        if not is_fault_of_the_file(error):
            raise
        raise UnreadableError(f"cannot be read: {error.strerror or error}") from None


def _read(path: Path) -> bytes:
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


def decode_image(data: bytes, size: int, *, square: bool = False) -> NDArray[np.uint8]:
    """The image in `data`, upright, as RGB resized to (size, size, 3) uint8.

    The resize is bilinear with antialiasing and does not keep the aspect ratio, unless only the
    middle `square` of the image is shown: PIL's own, and so what torchvision's
    `Resize((size, size))` gives for PIL images. Several frames or pages: the first. Transparency is
    dropped, not painted over a background, as `convert("RGB")` and so torchvision's `ImageFolder`
    do. Colour profiles are not applied, and no metadata but the orientation is read.

    Raises `DecodingError` with the reason for anything that cannot be decoded: damaged, in no
    format of `FORMATS`, below `MIN_SIDE` pixels a side or above `MAX_PIXELS` in all (found from
    the header, before memory is taken), in numbers without a known white. Raises `MemoryError`
    where memory is short: no fault of the image.
    """
    try:
        pixels = without_metadata(data)
        with _quiet(), _open(pixels) as image:
            check_size(image.width, image.height)
            _check_whole(image)
            bits = bits_per_sample(image, pixels)
            with _pixels_at_once.share(image.width * image.height):
                image.load()
                rgb = to_rgb(image, bits=bits)
                return fit(upright(rgb, _orientation(data)), size, square=square)
    except (DecodingError, MemoryError):
        raise
    except UnidentifiedImageError:  # its message holds a memory address
        raise DecodingError(why_unreadable(data[:HEAD_BYTES])) from None
    except Exception as error:  # damaged files make PIL raise errors of every kind
        reason = " ".join(str(error).split()) or type(error).__name__
        if "out of memory" in reason:  # how PIL passes on what its codecs say
            raise MemoryError(reason) from None
        raise DecodingError(f"cannot be decoded: {reason}") from None


def upright(image: Image.Image, orientation: int | None) -> Image.Image:
    """The image with its EXIF orientation undone; unknown orientations count as upright."""
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def fit(image: Image.Image, size: int, *, square: bool = False) -> NDArray[np.uint8]:
    """An RGB image, or its middle square, resized to (size, size, 3) uint8."""
    shown = _middle_square(image) if square else image
    return np.array(shown.resize((size, size), Image.Resampling.BILINEAR))


def _middle_square(image: Image.Image) -> Image.Image:
    # Cut out first: a resize of a box would let in what lies just outside of it.
    side = min(image.size)
    left, top = ((length - side) // 2 for length in image.size)
    return image.crop((left, top, left + side, top + side))


def _open(data: bytes) -> ImageFile.ImageFile:
    # An older PIL, or one built without a codec, knows fewer.
    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]
    return Image.open(io.BytesIO(data), formats=formats)


def _orientation(data: bytes) -> int | None:
    """The EXIF orientation (or that of XMP); None where there is none or it cannot be read."""
    for part in orientation_sources(data):
        try:
            with _open(part) as image:
                orientation = image.getexif().get(ExifTags.Base.Orientation)
        except MemoryError:
            raise
        except Exception:  # broken metadata makes PIL raise errors of every kind
            continue
        if orientation is not None:
            return orientation
    return None


def check_size(width: int, height: int) -> None:
    """Raises `DecodingError` below `MIN_SIDE` pixels a side and above `MAX_PIXELS` in all."""
    if min(width, height) < MIN_SIDE:
        raise DecodingError(f"{width}x{height} pixels, fewer than {MIN_SIDE} a side")
    if width * height > MAX_PIXELS:
        raise DecodingError(f"{width}x{height} pixels, more than {MAX_PIXELS} in all")


def _check_whole(image: Image.Image) -> None:
    tags = getattr(image, "tag_v2", {})
    if tags.get(_NEW_SUBFILE_TYPE, 0) & 1:
        raise DecodingError("its first page is a preview, as in cameras' raw files: develop it")


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
