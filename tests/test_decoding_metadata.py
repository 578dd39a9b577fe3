from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from pictures import chunk, encoded, picture, resized, tiff
from PIL import Image, features

from data.images.decoding import decode_image

HUGE = zlib.compress(bytes(3 * 2**20))  # unpacks beyond what PIL takes for one text


RIFF_GARBAGE = b"\xde\xad\xbe\xef" * 5


PNG_METADATA = {
    "huge text": chunk(b"zTXt", b"Comment\0\0" + HUGE),
    "huge international text": chunk(b"iTXt", b"Comment\0\1\0\0\0" + HUGE),
    "text of another coding": chunk(b"iTXt", b"Comment\0\1\0\0\0no zlib"),
    "huge profile": chunk(b"iCCP", b"profile\0\0" + HUGE),
    "damaged profile": chunk(b"iCCP", b"profile\0\0no zlib"),
    "unknown compression": chunk(b"iCCP", b"profile\0\7" + HUGE),
    "EXIF garbage": chunk(b"eXIf", RIFF_GARBAGE),
    "raw EXIF garbage": chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 8\ndeadbeefzz"),
    "empty pHYs": chunk(b"pHYs", b""),
    "short gamma": chunk(b"gAMA", b"\0"),
    "short chromaticities": chunk(b"cHRM", b"\0\0"),
    "short sRGB": chunk(b"sRGB", b""),
    "animation of nothing": chunk(b"acTL", b"\0"),
    "wrong checksum": chunk(b"tIME", b"1234567")[:-1] + b"!",
    "sixty-four huge texts": chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**20))) * 70,
}


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("kind", PNG_METADATA)
def test_metadata_of_png_is_not_looked_at(kind: str, place: str) -> None:
    whole = encoded(picture(), "PNG")
    cut = 33 if place == "before" else len(whole) - 12  # after IHDR, before IEND
    data = whole[:cut] + PNG_METADATA[kind] + whole[cut:]
    assert np.array_equal(decode_image(data, 224), resized(picture()))


@pytest.mark.parametrize(
    ("marker", "content"),
    [
        (0xE1, b"Exif\0\0" + RIFF_GARBAGE),
        (0xE1, b"Exif\0\0"),
        (0xE1, b"Exif\0\0II*\0\xff\xff\xff\x7f"),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0<not xml"),
        (0xE2, b"ICC_PROFILE\0\x05\x02garbage"),
        (0xE2, b"ICC_PROFILE\0"),
        (0xE2, b"MPF\0" + RIFF_GARBAGE),
        (0xED, b"Photoshop 3.0\x008BIM\x04"),
        (0xED, b"Photoshop 3.0\x008BIM\x03\xed\0\0\0\0\0\x03abc"),
        (0xE0, b"JFIF\0"),
        (0xE0, b"JFXX\0"),
        (0xEE, b"Adobe"),
        (0xFE, b""),
        (0xEB, RIFF_GARBAGE),
    ],
)
def test_metadata_of_jpeg_is_not_looked_at(marker: int, content: bytes) -> None:
    whole = encoded(picture(), "JPEG")
    segment = struct.pack(">BBH", 0xFF, marker, 2 + len(content)) + content
    expected = resized(Image.open(io.BytesIO(whole)).convert("RGB"))
    for times in (1, 300):
        data = whole[:2] + segment * times + whole[2:]
        assert np.array_equal(decode_image(data, 224), expected)


@pytest.mark.parametrize("name", ["WEBP", "AVIF", "TIFF"])
def test_metadata_of_other_formats_is_not_looked_at(name: str) -> None:
    if name == "AVIF" and "avif" not in features.get_supported():
        pytest.skip("PIL was built without AVIF")
    options: dict[str, Any] = {"lossless": True} if name == "WEBP" else {}
    plain = encoded(picture(), name, **options)
    expected = resized(Image.open(io.BytesIO(plain)).convert("RGB"))
    exif = Image.Exif()
    exif[0x010E] = "a description"
    data = encoded(picture(), name, exif=exif, icc_profile=RIFF_GARBAGE, xmp=b"<", **options)
    for there in (b"II*\0", b"MM\0*"):
        damaged = data[:16] + data[16:].replace(there, b"\xde\xad\xbe\xef")
        assert np.array_equal(decode_image(damaged, 224), expected)
    assert np.array_equal(decode_image(data, 224), expected)


# PIL reads no big TIFF in this byte order but "<".
@pytest.mark.parametrize(("order", "big"), [("<", False), (">", False), ("<", True)])
def test_tags_of_tiff_are_not_looked_at(order: str, big: bool) -> None:
    grey = np.asarray(picture("L"))
    garbage = [
        (34665, 4, 2**31 - 1),  # EXIF, GPS, XMP, a profile, IPTC and Photoshop, far beyond the end
        (34853, 4, 2**31 - 1),
        (700, 4, 2**31 - 1),
        (34675, 4, 2**31 - 1),
        (33723, 4, 2**31 - 1),
        (34377, 4, 2**31 - 1),
        (270, 77, 1),  # a description of no known type
        (282, 5, 2**31 - 1),  # resolution
        (296, 2, 0),
    ]
    data = tiff(grey, {262: 1}, order=order, big=big, garbage=garbage)
    assert np.array_equal(decode_image(data, 224), resized(picture("L").convert("RGB")))


@pytest.mark.parametrize("also", ["huge text", "damaged profile"])
def test_the_orientation_is_found_among_broken_metadata(also: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    whole = encoded(picture(), "PNG", exif=exif)
    data = whole[:33] + PNG_METADATA[also] + whole[33:]
    upside_down = picture().transpose(Image.Transpose.ROTATE_180)
    assert np.array_equal(decode_image(data, 224), resized(upside_down))
    whole = encoded(picture(), "JPEG", exif=exif)
    broken = b"\xff\xe2\0\x10ICC_PROFILE\0\5\2\xff\xed\0\x13Photoshop 3.0\x008BIM"[
        : 2 + 16 + 2 + 19
    ]
    data = whole[:2] + broken + whole[2:]
    assert np.array_equal(decode_image(data, 224), decode_image(whole, 224))
    assert not np.array_equal(
        decode_image(whole, 224), decode_image(encoded(picture(), "JPEG"), 224)
    )
