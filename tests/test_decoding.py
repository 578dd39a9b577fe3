from __future__ import annotations

import errno
import io
import runpy
import subprocess
import sys
import threading
import time
import warnings
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import encoded, picture, png, resized
from PIL import Image, ImageFile, ImageOps, features

from data.images.decoding import MAX_BYTES, DecodingError, decode_image, read_image_file
from data.machine.budget import Budget

FUZZ = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks/fuzz_images.py"))


@pytest.mark.parametrize("name", ["PNG", "TIFF", "BMP", "PPM", "TGA"])
@pytest.mark.parametrize("mode", ["RGB", "L", "1"])
def test_lossless_formats(name: str, mode: str) -> None:
    image = picture(mode)
    assert np.array_equal(decode_image(encoded(image, name), 224), resized(image.convert("RGB")))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("WEBP", {}),
        ("JPEG2000", {}),
        ("AVIF", {}),
    ],
)
def test_lossy_formats(name: str, options: dict[str, Any]) -> None:
    codec = {"WEBP": "webp", "JPEG2000": "jpg_2000", "AVIF": "avif"}.get(name)
    if codec is not None and codec not in features.get_supported():
        pytest.skip(f"PIL was built without {name}")
    data = encoded(picture(), name, **options)
    expected = resized(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.array_equal(decode_image(data, 224), expected)
    assert np.abs(expected.astype(int) - resized(picture())).mean() < 10  # the same picture


@given(
    width=st.integers(16, 300),
    height=st.integers(16, 300),
    mode=st.sampled_from(["RGB", "L", "P", "LA", "RGBA"]),
    size=st.integers(1, 260),
)
@settings(max_examples=40, deadline=None)
def test_any_size_equals_torchvision(width: int, height: int, mode: str, size: int) -> None:
    image = picture(mode, width, height)
    expected = resized(image.convert("RGB"), size)
    decoded = decode_image(encoded(image, "PNG"), size)
    assert decoded.shape == (size, size, 3)
    assert np.array_equal(decoded, expected)


def test_palette_with_transparent_colours() -> None:
    image = picture().quantize(16)
    expected = resized(image.convert("RGB"))
    for transparency in (3, bytes(range(0, 256, 16))):
        data = encoded(image, "PNG", transparency=transparency)
        assert np.array_equal(decode_image(data, 224), expected)


def test_transparency_is_dropped() -> None:
    opacity = Image.linear_gradient("L").resize((60, 40))
    for mode in ("RGBA", "LA"):
        image = picture(mode)
        expected = resized(image.convert("RGB"))
        image.putalpha(opacity)
        assert np.array_equal(decode_image(encoded(image, "PNG"), 224), expected)


def test_cmyk() -> None:
    image = picture("CMYK")
    expected = resized(image.convert("RGB"))
    assert np.array_equal(decode_image(encoded(image, "TIFF"), 224), expected)
    jpeg = decode_image(encoded(image, "JPEG", quality=100), 224)  # stored inverted, as Adobe does
    assert np.abs(jpeg.astype(int) - expected).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_exif_orientation(name: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if name == "WEBP" else {}
    data = encoded(picture(), name, exif=exif, **options)
    plain = Image.open(io.BytesIO(encoded(picture(), name, **options))).convert("RGB")
    # The definition: where row 0 and column 0 of the stored image are seen (EXIF 2.3, 4.6.4).
    stored = np.asarray(plain)
    upright = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.swapaxes(0, 1),
        6: stored[::-1].swapaxes(0, 1),
        7: stored[::-1, ::-1].swapaxes(0, 1),
        8: stored.swapaxes(0, 1)[::-1],
    }[orientation]
    decoded = decode_image(data, 224)
    assert np.array_equal(decoded, resized(Image.fromarray(np.ascontiguousarray(upright))))
    transposed = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert np.array_equal(decoded, resized(transposed.convert("RGB")))


@pytest.mark.parametrize("name", ["GIF", "TIFF", "WEBP", "PNG", "MPO"])
def test_first_frame(name: str) -> None:
    first, second = picture(), picture().transpose(Image.Transpose.ROTATE_180)
    options = {"lossless": True} if name == "WEBP" else {}
    data = encoded(first, name, save_all=True, append_images=[second], **options)
    decoded = decode_image(data, 224).astype(int)
    assert np.abs(decoded - resized(first)).mean() < 12  # GIF and MPO lose a little
    assert np.abs(decoded - resized(second)).mean() > 40


def test_too_small() -> None:
    for width, height in ((1, 1), (15, 200), (200, 15)):
        with pytest.raises(DecodingError, match=f"{width}x{height} pixels, fewer than 16"):
            decode_image(encoded(picture("RGB", width, height), "PNG"), 224)
    assert decode_image(encoded(picture("RGB", 16, 16), "PNG"), 224).shape == (224, 224, 3)


def test_too_many_pixels() -> None:
    # Without pixels: a decoder that got as far as decoding would say "truncated".
    with pytest.raises(DecodingError, match="12000x12000 pixels, more than 134217728"):
        decode_image(png(12_000, 12_000, zlib.compress(b"")), 224)


def test_a_bomb_takes_no_memory(tmp_path: Path) -> None:
    side = 20_000
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png(side, side, zlib.compress(bytes(side * (1 + side // 8)), 1)))
    code = f"""
import resource, sys
from pathlib import Path
from data.images.decoding import DecodingError, decode_image
unit = 1024 if sys.platform == "linux" else 2**20
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit
before = peak()
try:
    decode_image(Path({str(bomb)!r}).read_bytes(), 224)
except DecodingError as error:
    print(peak() - before, error)
"""
    grown, reason = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split(maxsplit=1)
    assert int(grown) < 50  # MiB; the pixels take 381 or more
    assert "400000000 pixels" in reason


@pytest.mark.parametrize(
    "data", [b"hello", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"%!PS-Adobe", b"\0" * 99]
)
def test_no_image(data: bytes) -> None:
    with pytest.raises(DecodingError) as caught:
        decode_image(data, 224)
    assert "0x" not in str(caught.value)  # no memory address: the same words every time


def test_read_image_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    with pytest.raises(DecodingError, match="No such file"):
        read_image_file(path)
    path.touch()
    with pytest.raises(DecodingError, match="empty file"):
        read_image_file(path)
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # sparse: takes no space
    with pytest.raises(DecodingError, match="1073741825 bytes, more than"):
        read_image_file(path)
    with pytest.raises(DecodingError, match="folder"):
        read_image_file(tmp_path)
    path.write_bytes(b"abc")
    assert read_image_file(path) == b"abc"


def test_warnings_of_pil_stay_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(picture(), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)  # below 60 x 40: PIL warns
    with pytest.warns(Image.DecompressionBombWarning):
        Image.open(io.BytesIO(data)).load()
    before = list(warnings.filters)
    assert np.array_equal(decode_image(data, 224), resized(picture()))
    assert warnings.filters == before
    with pytest.raises(UserWarning, match="mine"):  # ours are errors again, as pytest has them
        warnings.warn("mine", stacklevel=1)


def test_threads_leave_the_warning_filters_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    data, before, failures = encoded(picture(), "PNG"), list(warnings.filters), []

    def decode() -> None:
        try:
            for _ in range(30):
                decode_image(data, 16)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=decode) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert warnings.filters == before


def test_damaged_files_of_every_format() -> None:
    outcomes = [FUZZ["attempt"](data) for _, data in FUZZ["damaged_files"](190, seed=1)]
    assert set(outcomes) == {"decoded", "refused"}  # both happen: some damage goes unnoticed


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_shortened_file_is_refused(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["jpeg", "png", "gif", "tiff", "tiff lzw", "webp"]))
    whole = ORIGINALS[kind]
    # The last bytes of some formats are no pixels; three quarters never hold them all.
    part = whole[: data.draw(st.integers(1, len(whole) * 3 // 4))]
    with pytest.raises(DecodingError):
        decode_image(part, 224)


@given(st.binary(max_size=400))
@settings(max_examples=60, deadline=None)
def test_random_bytes(data: bytes) -> None:
    assert FUZZ["attempt"](data) == "refused"


ORIGINALS: dict[str, bytes] = FUZZ["originals"]()


@pytest.mark.parametrize("kind", ORIGINALS)
def test_the_undamaged_files_are_good(kind: str) -> None:
    assert FUZZ["attempt"](ORIGINALS[kind]) == "decoded"


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\xff\x0a" + bytes(200), "JPEG XL"),
        (b"\0\0\0\x18ftypheic" + bytes(200), "HEIC"),
        (bytes(128) + b"DICM" + bytes(100), "DICOM"),
        (b"8BPS\0\1" + bytes(100), "Photoshop"),
        (b"v/1\x01" + bytes(100), "OpenEXR"),
    ],
)
def test_formats_that_cannot_be_read_are_named(head: bytes, kind: str) -> None:
    with pytest.raises(DecodingError, match=f"^{kind}, a format that cannot be read"):
        decode_image(head, 224)


def test_short_memory_is_no_fault_of_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*_: Any) -> None:
        raise MemoryError

    def short_codec(*_: Any) -> None:
        raise OSError("out of memory error when reading image file")

    data = encoded(picture(), "PNG")
    for fault in (short, short_codec):
        monkeypatch.setattr("PIL.ImageFile.ImageFile.load", fault)
        with pytest.raises(MemoryError):
            decode_image(data, 224)


def test_a_disk_that_fails_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"abc")
    monkeypatch.setattr("data.machine.faults.PAUSES", (0.0, 0.0, 0.0))
    read_bytes, failures = Path.read_bytes, [errno.EIO, errno.ESTALE, errno.ENOMEM]

    def failing(path: Path) -> bytes:
        if failures:
            raise OSError(failures.pop(), "the machine's fault")
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", failing)
    assert read_image_file(path) == b"abc"
    failures += [errno.EIO] * 9
    with pytest.raises(OSError, match="the machine's fault"):
        read_image_file(path)
    failures[:] = [errno.EACCES]
    with pytest.raises(DecodingError, match="the machine's fault"):
        read_image_file(path)


@given(sides=st.lists(st.integers(16, 60), min_size=1, max_size=12))
@settings(max_examples=10, deadline=None)
def test_pixels_decoded_at_once_are_bounded(sides: list[int]) -> None:
    budget, busy, most = Budget(2000), Counter[str](), []
    load = ImageFile.ImageFile.load

    def counting(image: Any) -> Any:
        with lock:
            busy["pixels"] += image.width * image.height
            most.append(busy["pixels"])
        time.sleep(0.001)
        with lock:
            busy["pixels"] -= image.width * image.height
        return load(image)

    lock, files = threading.Lock(), [encoded(picture("RGB", s, s), "PNG") for s in sides]
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(8) as pool:
        patch.setattr("data.images.decoding._pixels_at_once", budget)
        patch.setattr(ImageFile.ImageFile, "load", counting)
        assert len(list(pool.map(lambda data: decode_image(data, 16), files))) == len(sides)
    # One image alone may be larger than the bound.
    assert max(most) <= max(2000, max(sides) ** 2)
