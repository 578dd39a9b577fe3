from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray
from pictures import encoded, filtered, picture, png, resized, tiff
from PIL import Image, features

from data.images.decoding import DecodingError, decode_image


@pytest.mark.parametrize("factor", [256, 257])  # both ways to widen 8 bits to 16
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "big-endian TIFF", "PGM", "JPEG2000"])
def test_16_bit_grey_is_scaled(kind: str, factor: int) -> None:
    grey = picture("L")
    wide = np.asarray(grey).astype(np.uint16) * np.uint16(factor)
    if kind == "PGM":
        data = b"P5 60 40 65535\n" + wide.astype(">u2").tobytes()
    elif kind == "big-endian TIFF":
        data = big_endian_tiff(wide)
    elif kind == "JPEG2000" and "jpg_2000" not in features.get_supported():
        pytest.skip("PIL was built without JPEG2000")
    else:
        data = encoded(Image.fromarray(wide), kind)
    assert np.array_equal(decode_image(data, 224), resized(grey.convert("RGB")))


def big_endian_tiff(grey: NDArray[np.uint16]) -> bytes:
    """A TIFF file of one strip, written by hand: PIL writes none in this byte order."""
    height, width = grey.shape
    entries = [(256, width), (257, height), (258, 16), (259, 1), (262, 1), (277, 1), (278, height)]
    start = 8 + 2 + 12 * (len(entries) + 2) + 4
    entries = sorted([*entries, (273, start), (279, grey.nbytes)])
    table = b"".join(struct.pack(">HHII", tag, 4, 1, value) for tag, value in entries)
    head = b"MM\0*" + struct.pack(">IH", 8, len(entries)) + table + b"\0\0\0\0"
    return head + grey.astype(">u2").tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_numbers_without_a_known_white(dtype: type) -> None:
    data = encoded(Image.fromarray(np.asarray(picture("L")).astype(dtype)), "TIFF")
    with pytest.raises(DecodingError, match="no known white"):
        decode_image(data, 224)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [8, 16])
def test_zero_is_white(bits: int, order: str) -> None:
    grey = np.asarray(picture("L"))
    wide = grey.astype(np.uint16) * np.uint16(257) if bits == 16 else grey
    data = tiff(wide, {262: 0}, order=order)
    expected = resized(Image.fromarray(255 - grey).convert("RGB"))
    assert_right_or_refused(data, expected)
    if order == "<":
        assert np.array_equal(decode_image(data, 224), expected)


def assert_right_or_refused(data: bytes, expected: NDArray[np.uint8]) -> None:
    try:
        decoded = decode_image(data, 224).astype(int)
    except DecodingError:
        return
    assert np.abs(decoded - expected).max() <= 1


def packed_bits(values: NDArray[np.uint16], bits: int) -> bytes:
    """Rows of numbers of so many bits, the highest bit first, each row filled up to a byte."""
    digits = (values[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(digits.reshape(len(values), -1), axis=1).tobytes()


@pytest.mark.parametrize("white_is_zero", [0, 1])
@pytest.mark.parametrize("bits", [10, 12, 14])
def test_grey_of_odd_depths_in_tiff(bits: int, white_is_zero: int) -> None:
    grey = np.asarray(picture("L"))
    stored = 255 - grey if white_is_zero else grey
    values = (stored.astype(np.uint32) * (2**bits - 1) // 255).astype(np.uint16)
    data = tiff(values, {262: 1 - white_is_zero}, bits=bits, packed=packed_bits(values, bits))
    expected = resized(picture("L").convert("RGB"))
    assert_right_or_refused(data, expected)
    if bits == 12 and not white_is_zero:
        assert np.abs(decode_image(data, 224).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize(
    "kind", ["PNG", "TIFF", "white is zero", "PGM", "PNG colour", "PPM colour"]
)
def test_few_bits_in_a_wide_file_are_refused(kind: str, bits: int) -> None:
    grey = np.asarray(picture("L"))
    values = (grey.astype(np.uint32) * (2**bits - 1) // 255).astype(np.uint16)
    rows = values.astype(">u2")
    colour = np.repeat(rows[..., None], 3, axis=-1)
    files = {
        "PNG": encoded(Image.fromarray(values), "PNG"),
        "TIFF": tiff(values, {262: 1}),
        "white is zero": tiff(values, {262: 0}),
        "PGM": b"P5 60 40 65535\n" + rows.tobytes(),
        "PNG colour": png(60, 40, zlib.compress(filtered(colour)), depth=16, colour=2),
        "PPM colour": b"P6 60 40 65535\n" + colour.tobytes(),
    }
    with pytest.raises(DecodingError, match="come out dark"):
        decode_image(files[kind], 224)


@pytest.mark.parametrize("most", [15, 255, 1023, 4095, 16383, 65535])
def test_a_declared_range_is_scaled(most: int) -> None:
    grey = np.asarray(picture("L"))
    values = (grey.astype(np.uint32) * most + 127) // 255
    width = ">u2" if most > 255 else "u1"
    expected = resized(Image.fromarray((values * 255 // most).astype(np.uint8)).convert("RGB"))
    for kind, samples in (("P5", values), ("P6", np.repeat(values[..., None], 3, axis=-1))):
        data = f"{kind} 60 40 {most}\n".encode() + samples.astype(width).tobytes()
        assert np.abs(decode_image(data, 224).astype(int) - expected).max() <= 1
    text = f"P2 60 40 {most}\n" + " ".join(map(str, values.ravel().tolist()))
    assert np.abs(decode_image(text.encode(), 224).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_grey_of_odd_depths_in_jpeg2000(bits: int) -> None:
    if "jpg_2000" not in features.get_supported():
        pytest.skip("PIL was built without JPEG2000")
    grey = np.asarray(picture("L"))
    values = (grey.astype(np.uint32) * (2**bits - 1) // 255).astype(np.uint16)
    data = bytearray(encoded(Image.fromarray(values), "JPEG2000", no_jp2=True))
    data[42] = bits - 1  # Ssiz, the depth, which PIL always writes as 16 (T.800, A.5.1)
    # Lossless, and the level shift by half the range is the only thing that the depth decides.
    shifted = (values.astype(int) - 2**15 + 2 ** (bits - 1)).clip(0, 2**bits - 1) >> (bits - 8)
    expected = resized(Image.fromarray(shifted.astype(np.uint8)).convert("RGB"))
    if bits == 16:
        assert np.array_equal(decode_image(bytes(data), 224), expected)
    else:
        assert_right_or_refused(bytes(data), expected)


def test_signed_numbers_are_refused() -> None:
    for dtype in (np.uint8, np.uint16):
        data = tiff(np.asarray(picture("L")).astype(dtype), {262: 1, 339: 2})
        with pytest.raises(DecodingError, match="no known white"):
            decode_image(data, 224)


def test_a_preview_is_not_the_image() -> None:
    data = tiff(np.asarray(picture("L")), {262: 1, 254: 1})
    with pytest.raises(DecodingError, match="preview"):
        decode_image(data, 224)
