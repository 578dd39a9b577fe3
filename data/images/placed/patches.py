"""Patches: the small square images that a placed study lays on a canvas."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data.images.decoding import DecodingError, decode_image, read_image_file
from data.images.image_set import open_set
from data.images.placed.shapes import SHAPES, shape_image
from data.images.samples import sample_image
from data.images.source import BadImage
from data.tools.errors import UserError

Pixels = NDArray[np.uint8]
PATCH_SETS = ("samples", "shapes", "digits", "cifar10", "cifar100")
LEAST_PATCHES = 10  # of fewer no part of the split has any
_DIGIT_SIDE, _DIGIT_WHITE = 8, 16  # pixels a side and largest value of scikit-learn's digits


@dataclass(frozen=True)
class Patches:
    """A set of patches, and what they show where that is known."""

    name: str
    pixels: Pixels  # (N, P, P, 3) RGB
    classes: NDArray[np.int16]  # (N,); -1: none
    class_names: tuple[str, ...] = ()
    bad: tuple[BadImage, ...] = ()  # what looks like an image and cannot be used

    @property
    def sha256(self) -> str:
        """Of the pixels and the classes."""
        content = np.ascontiguousarray(self.pixels).tobytes() + self.classes.astype("<i2").tobytes()
        return hashlib.sha256(content).hexdigest()


def find_patches(content: Any, count: int, size: int) -> Patches:
    """At most `count` images of your own as patches of `size` pixels a side, without classes.

    `content` is what `data.images.image_set.open_set` takes: a list of files, images in memory, a
    Dataset or an `ImageSource`. Whole images are resized.
    """
    found = open_set("patches", content, image_size=size, num_workers=1)
    pixels = [found.load(index) for index in range(len(found.records))[:count]]
    return _enough(_unlabelled("own", pixels, size, found.bad))


def load_patches(name: str, count: int, size: int, *, seed: int, root: Path | None) -> Patches:
    """At most `count` patches of `size` pixels a side.

    Args:
        name: "samples" (dead leaves, no class), "shapes" (ten classes), "digits" (scikit-learn's,
            ten classes), "cifar10" or "cifar100" (torchvision's, under `root`), or a folder of
            images: the middle square of each, resized.
        count: how many; sets that are not generated may hold fewer.
        size: pixels a side.
        seed: of generated patches.
        root: where CIFAR lies; nothing is downloaded.

    Raises `UserError` where the set cannot be had.
    """
    makers: dict[str, Callable[[], Patches]] = {
        "samples": lambda: _samples(count, size, seed),
        "shapes": lambda: _shapes(count, size, seed),
        "digits": lambda: _digits(count, size),
        "cifar10": lambda: _cifar(name, count, size, root),
        "cifar100": lambda: _cifar(name, count, size, root),
    }
    return _enough(makers[name]() if name in makers else _folder(Path(name), count, size))


def cifar_test(name: str, count: int, size: int, root: Path | None) -> Patches:
    """At most `count` test images of "cifar10" or "cifar100"; raises as `load_patches` does."""
    return _cifar(name, count, size, root, train=False)


def _enough(patches: Patches) -> Patches:
    if len(patches.pixels) < LEAST_PATCHES:
        raise UserError(
            f"--patches {patches.name}: {len(patches.pixels)} patches cannot be split into "
            f"training, held-out and test patches: give at least {LEAST_PATCHES} (--patch-limit)"
        )
    return patches


def _unlabelled(
    name: str, pixels: list[Pixels], size: int, bad: tuple[BadImage, ...] = ()
) -> Patches:
    stacked = np.stack(pixels) if pixels else np.zeros((0, size, size, 3), np.uint8)
    return Patches(name, stacked, np.full(len(pixels), -1, np.int16), bad=bad)


def _samples(count: int, size: int, seed: int) -> Patches:
    return _unlabelled("samples", [sample_image(i, seed, size) for i in range(count)], size)


def _shapes(count: int, size: int, seed: int) -> Patches:
    classes = np.arange(count, dtype=np.int16) % len(SHAPES)
    pixels = [shape_image(i, seed, size) for i in range(count)]
    return Patches("shapes", np.stack(pixels), classes, SHAPES)


def _digits(count: int, size: int) -> Patches:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise UserError(
            "--patches digits needs scikit-learn (pip install scikit-learn): install it, or use "
            "samples or shapes"
        ) from None
    if size % _DIGIT_SIDE:
        raise UserError(
            f"--patch-size {size}: digits are {_DIGIT_SIDE} pixels a side and are enlarged "
            f"without blurring, so use a multiple of {_DIGIT_SIDE}"
        )
    digits = load_digits()
    grey = np.round(digits.images[:count] * (255 / _DIGIT_WHITE)).astype(np.uint8)
    large = grey.repeat(size // _DIGIT_SIDE, 1).repeat(size // _DIGIT_SIDE, 2)
    pixels = np.repeat(large[..., None], 3, axis=3)
    names = tuple(str(digit) for digit in range(10))
    return Patches("digits", pixels, digits.target[:count].astype(np.int16), names)


def _cifar(name: str, count: int, size: int, root: Path | None, *, train: bool = True) -> Patches:
    from torchvision import datasets

    kind = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    folder = root or Path("data-sets")
    try:
        found = kind(str(folder), train=train, download=False)
    except RuntimeError:
        raise UserError(
            f"--patches {name}: not found in {folder}, and nothing is downloaded: give the folder "
            "that holds it as --patch-root, or use samples or shapes"
        ) from None
    pixels = found.data[:count]
    if size != pixels.shape[1]:
        pixels = np.stack([_resized(Image.fromarray(image), size) for image in pixels])
    return Patches(name, pixels, np.array(found.targets[:count], np.int16), tuple(found.classes))


def _resized(image: Image.Image, size: int) -> Pixels:
    return np.array(image.resize((size, size), Image.Resampling.BILINEAR))


def _folder(folder: Path, count: int, size: int) -> Patches:
    if not folder.is_dir():
        raise UserError(
            f"--patches {folder}: no such set or folder; use {', '.join(PATCH_SETS)} or a folder"
        )
    found = open_set("patches", folder, image_size=size, num_workers=1)
    pixels = []
    for record in found.records[:count]:
        try:
            pixels.append(decode_image(read_image_file(folder / record.name), size, square=True))
        except DecodingError as error:
            raise UserError(f"{folder / record.name} {error}: remove it, or mend it") from None
    return _unlabelled(folder.name, pixels, size, found.bad)
