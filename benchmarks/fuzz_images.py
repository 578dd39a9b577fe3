"""Decode damaged image files: each must give pixels or a one-line reason, soon and quietly.

    python benchmarks/fuzz_images.py --count 500 --seed 0

Prints what became of the files, the slowest, the memory it took and what C libraries wrote to
stderr (libtiff does, and cannot be told not to); ends with 1 when any file raised something else or
warned.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import resource
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image

from data.images.decoding import DecodingError, decode_image
from data.images.samples import sample_image


def originals() -> dict[str, bytes]:
    """Sound files of every format, keyed by a name that says which kind of it."""
    photo = Image.fromarray(sample_image(0, 0, 96))
    grey16 = Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = 6
    second = Image.fromarray(sample_image(1, 0, 96))

    def frames() -> dict[str, Any]:  # saving leaves settings on an image: a new one every time
        return {"save_all": True, "append_images": [second.copy()]}

    kinds: dict[str, tuple[Image.Image, str, dict[str, Any]]] = {
        "jpeg": (photo, "JPEG", {}),
        "jpeg progressive": (photo, "JPEG", {"progressive": True, "exif": exif}),
        "jpeg cmyk": (photo.convert("CMYK"), "JPEG", {}),
        "jpeg multi-picture": (photo, "MPO", frames()),
        "png": (photo, "PNG", {"exif": exif}),
        "png palette": (photo.quantize(64), "PNG", {"transparency": 3}),
        "png alpha": (photo.convert("RGBA"), "PNG", {}),
        "png 16-bit": (grey16, "PNG", {}),
        "png animated": (photo, "PNG", frames()),
        "gif": (photo.quantize(64), "GIF", {}),
        "gif animated": (photo, "GIF", frames()),
        "tiff": (photo, "TIFF", {"exif": exif}),
        "tiff lzw": (photo, "TIFF", {"compression": "tiff_lzw"}),
        "tiff deflate": (grey16, "TIFF", {"compression": "tiff_adobe_deflate"}),
        "tiff jpeg": (photo, "TIFF", {"compression": "jpeg"}),
        "tiff pages": (photo, "TIFF", frames()),
        "webp": (photo, "WEBP", {"exif": exif}),
        "webp lossless": (photo.convert("RGBA"), "WEBP", {"lossless": True}),
        "webp animated": (photo, "WEBP", frames()),
    }
    files = {}
    for kind, (image, name, options) in kinds.items():
        buffer = io.BytesIO()
        image.copy().save(buffer, name, **options)
        files[kind] = buffer.getvalue()
    return files


def flip_bits(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 4, 32))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def flip_header_bits(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 2, 8))):
        data[rng.randrange(min(64, len(data)))] ^= 1 << rng.randrange(8)


def put_extreme_number(data: bytearray, rng: random.Random) -> None:
    number = rng.choice((0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF))
    width = rng.choice((1, 2, 4))
    start = rng.randrange(min(400, len(data)))
    data[start : start + width] = (number % 256**width).to_bytes(
        width, rng.choice(("big", "little"))
    )


def truncate(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(1, len(data) + 1) :]


def delete_block(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(1, len(data) + 1)
    del data[start : start + rng.choice((1, 2, 16, 256))]


def repeat_block(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    data[start:start] = data[start : start + rng.choice((1, 16, 256))] * rng.choice((1, 100))


def blank_block(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    stop = min(len(data), start + rng.choice((4, 64, 1024)))
    data[start:stop] = bytes([rng.choice((0, 255))]) * (stop - start)


DAMAGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    flip_bits,
    flip_header_bits,
    put_extreme_number,
    truncate,
    delete_block,
    repeat_block,
    blank_block,
)


def damaged_files(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """`count` damaged files as (kind, contents), each kind in turn, the same for the same seed."""
    rng = random.Random(seed)
    files = list(originals().items())
    for number in range(count):
        kind, sound = files[number % len(files)]
        data = bytearray(sound)
        for _ in range(rng.choice((1, 1, 1, 3))):
            rng.choice(DAMAGES)(data, rng)
        yield kind, bytes(data)


def attempt(data: bytes) -> str:
    """What became of the file: "decoded", "refused", or what should not have happened."""
    try:
        image = decode_image(data, 224)
    except DecodingError as error:
        reason = str(error)
        return "refused" if reason and reason.isprintable() else f"reason {reason!r}"
    except BaseException as error:
        return repr(error)
    return "decoded" if image.shape == (224, 224, 3) else f"shape {image.shape}"


@contextmanager
def captured_stderr() -> Iterator[list[str]]:
    """Lines written to stderr, by C libraries too; the list is filled at the end."""
    lines: list[str] = []
    with tempfile.TemporaryFile() as file:
        stderr = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield lines
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
        file.seek(0)
        lines += file.read().decode(errors="replace").splitlines()


def main() -> int:
    """Decode the files and print what became of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    warnings.simplefilter("error")
    files = list(damaged_files(arguments.count, arguments.seed))
    outcomes: Counter[str] = Counter()
    slowest = (0.0, "")
    with captured_stderr() as noise:
        for number, (kind, data) in enumerate(files):
            started = time.perf_counter()
            outcome = attempt(data)
            slowest = max(slowest, (time.perf_counter() - started, f"{number} ({kind})"))
            expected = outcome in ("decoded", "refused")
            outcomes[outcome if expected else f"file {number} ({kind}): {outcome}"] += 1
    for outcome, number in outcomes.most_common():
        print(f"{number:6d} {outcome}")
    print(f"slowest {slowest[0]:.2f} s, file {slowest[1]}")
    print(f"most memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    print(f"{len(noise)} lines on stderr", *noise[:10], sep="\n  ")
    return 1 if set(outcomes) - {"decoded", "refused"} else 0


if __name__ == "__main__":
    sys.exit(main())
