"""Pictures and image files that the tests of decoding share."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import Resize


def picture(mode: str = "RGB", width: int = 60, height: int = 40) -> Image.Image:
    """A picture without symmetry, smooth enough for JPEG."""
    coarse = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return image.convert(mode)


def encoded(image: Image.Image, name: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def resized(image: Image.Image, size: int = 224) -> NDArray[np.uint8]:
    """What torchvision makes of an upright RGB image."""
    assert image.mode == "RGB"
    return np.asarray(Resize((size, size))(image))


def chunk(kind: bytes, content: bytes) -> bytes:
    """A part of a PNG file."""
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def png(width: int, height: int, pixels: bytes, *, depth: int = 1, colour: int = 0) -> bytes:
    """A PNG file with the compressed `pixels` in it, one bit of grey each."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def filtered(rows: NDArray[Any]) -> bytes:
    """The rows of a PNG file, none of them filtered."""
    flat = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1)
    return np.pad(flat, ((0, 0), (1, 0))).tobytes()


def tiff(
    samples: NDArray[Any],
    tags: dict[int, int],
    *,
    order: str = "<",
    big: bool = False,
    garbage: list[tuple[int, int, int]] | None = None,
    bits: int | None = None,
    packed: bytes | None = None,
) -> bytes:
    """A TIFF file of one strip of grey, written by hand (TIFF 6.0, section 2 and 4)."""
    height, width = samples.shape
    pixels = packed or samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    word = "Q" if big else "I"
    head = (b"II" if order == "<" else b"MM") + struct.pack(
        order + ("HHHQ" if big else "HI"), *((43, 8, 0, 16) if big else (42, 8))
    )
    values = {256: width, 257: height, 258: bits or samples.itemsize * 8, 259: 1, 277: 1}
    values |= {278: height, 279: len(pixels), 273: 0, **tags}
    entries = [(tag, 4, value) for tag, value in values.items()] + (garbage or [])
    count = struct.pack(order + ("Q" if big else "H"), len(entries))
    size = struct.calcsize("=HH" + 2 * word)
    start = len(head) + len(count) + size * len(entries) + struct.calcsize("=" + word)

    def entry(tag: int, kind: int, value: int) -> bytes:
        value = start if tag == 273 else value
        return struct.pack(f"{order}HH{word}I", tag, kind, 1, value) + bytes(4 if big else 0)

    table = b"".join(entry(*item) for item in sorted(entries))
    return head + count + table + bytes(struct.calcsize("=" + word)) + pixels
