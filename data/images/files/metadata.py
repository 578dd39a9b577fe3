"""An image file without what is said beside its pixels: text, colour profiles, EXIF, XMP, previews.

PIL reads all of it on opening and refuses the whole file for a broken or a huge part. None of it
is a pixel, so pixels are decoded from a copy that lacks it. What cannot be followed is left as it
is, for PIL to judge.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_PNG_EXIF = (b"eXIf",)
_PNG_TEXTS = (b"iTXt", b"tEXt", b"zTXt")  # XMP, or EXIF as ImageMagick writes it

_JPEG = b"\xff\xd8\xff"
_JPEG_METADATA = {*range(0xE0, 0xF0), 0xFE}  # APP0 to APP15; comments
_JPEG_STANDALONE = {0x01, *range(0xD0, 0xD9)}  # no length follows
_JPEG_SCAN = 0xDA
_JPEG_COLOURS = {0xE0: (b"JFIF\0", 14), 0xEE: (b"Adobe", 12)}  # decide the colour space
_JPEG_EXIF = 0xE1

# Byte order mark and version -> byte order, and the sizes of a count, an entry and an offset.
_TIFF = {b"II*\0": "<", b"MM\0*": ">"}
_BIG_TIFF = {b"II+\0": "<", b"MM\0+": ">"}
_TIFF_PIXELS = {
    *(254, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323),
    *(324, 325, 332, 338, 339, 347, *range(512, 522), 529, 530, 531, 532),
}


def without_metadata(data: bytes) -> bytes:
    """The file with its pixels alone; `data` itself where its format is none of those known."""
    return _rebuilt(data, ())


def orientation_sources(data: bytes) -> Iterator[bytes]:
    """Copies to look for the EXIF orientation in, the first that can be read is right.

    EXIF goes before XMP, and neither is lost for something else that is broken.
    """
    if data.startswith(_PNG):
        yield _rebuilt(data, _PNG_EXIF)
        yield _rebuilt(data, _PNG_TEXTS)
    elif data.startswith(_JPEG):
        yield _rebuilt(data, (_JPEG_EXIF,))
    else:
        yield data
        pixels = without_metadata(data)
        if pixels is not data:
            yield pixels


def _rebuilt(data: bytes, also: tuple[object, ...]) -> bytes:
    """`data` with its pixels and the parts named in `also`."""
    if data.startswith(_PNG):
        return b"".join(_png_parts(memoryview(data), also))
    if data.startswith(_JPEG):
        return b"".join(_jpeg_parts(memoryview(data), also))
    if data[:4] in _TIFF or data[:4] in _BIG_TIFF:
        return _tiff(data)
    if data[4:8] == b"ftyp":
        return _iso_media(data)
    return data


def _png_parts(data: memoryview, also: tuple[object, ...]) -> Iterator[memoryview]:
    yield data[: len(_PNG)]
    start = len(_PNG)
    while start + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, start)
        end = start + 12 + length  # length, kind, content, checksum
        if kind in _PNG_PIXELS or kind in also:
            yield data[start:end]
        if kind == b"IEND":
            return
        start = end
    yield data[start:]


def _jpeg_parts(data: memoryview, also: tuple[object, ...]) -> Iterator[memoryview]:
    yield data[:2]
    start = 2
    while start + 4 <= len(data) and data[start] == 0xFF:
        marker = data[start + 1]
        if marker == 0xFF:  # may be repeated
            start += 1
            continue
        if marker == _JPEG_SCAN or marker in _JPEG_STANDALONE:
            break
        end = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
        segment = data[start:end]
        if marker in also or _holds_pixels(marker, segment):
            yield segment
        start = end
    yield data[start:]


def _holds_pixels(marker: int, segment: memoryview) -> bool:
    if marker in _JPEG_COLOURS:
        name, least = _JPEG_COLOURS[marker]
        return segment[4 : 4 + len(name)] == name and len(segment) >= 2 + least
    return marker not in _JPEG_METADATA


def _tiff(data: bytes) -> bytes:
    """The first page, its directory cut down to the entries that describe its pixels."""
    if data[:4] in _TIFF:
        order, number, size = _TIFF[data[:4]], "H", 12
        (start,) = struct.unpack_from(order + "I", data.ljust(8, b"\0"), 4)
        offset = "I"
    else:
        order, number, size = _BIG_TIFF[data[:4]], "Q", 20
        (start,) = struct.unpack_from(order + "Q", data.ljust(16, b"\0"), 8)
        offset = "Q"
    first = start + struct.calcsize(number)
    if first > len(data):
        return data
    (count,) = struct.unpack_from(order + number, data, start)
    end = first + count * size
    if end > len(data):
        return data
    entries = [data[place : place + size] for place in range(first, end, size)]
    kept = [e for e in entries if struct.unpack(order + "H", e[:2])[0] in _TIFF_PIXELS]
    directory = struct.pack(order + number, len(kept)) + b"".join(kept)
    directory += struct.pack(order + offset, 0)  # no next page
    return data[:start] + directory + data[start + len(directory) :]


def _iso_media(data: bytes) -> bytes:
    """An AVIF file whose EXIF and XMP items are of a kind that no decoder looks for."""
    start = 0
    while start + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, start)
        if length < 8:  # "to the end", or in 64 bits: not what precedes the pixels
            return data
        if kind == b"meta":
            meta = data[start : start + length].replace(b"Exif", b"skip")
            meta = meta.replace(b"application/rdf+xml", b"application/skipped")
            return data[:start] + meta + data[start + length :]
        start += length
    return data
