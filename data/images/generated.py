"""Sources of images that come from no file: the embedded samples, black, white and noise."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.images.samples import TEST_SAMPLES, TRAIN_SAMPLES, sample_image
from data.images.source import ImageRecord
from data.images.synthetic import NOISE_IMAGES, black_image, noise_image, white_image
from data.tools.parallel import in_threads

_SAMPLES = [f"sample-{number:05d}" for number in range(TRAIN_SAMPLES + TEST_SAMPLES)]
SAMPLES = {"train": _SAMPLES[:TRAIN_SAMPLES], "test": _SAMPLES[TRAIN_SAMPLES:]}
SYNTHETIC = {
    "black": ["black"],
    "white": ["white"],
    "noise": [f"noise-{number:05d}" for number in range(NOISE_IMAGES)],
}

_MAKERS: dict[str, Callable[[int, int, int], NDArray[np.uint8]]] = {
    "black": lambda number, seed, size: black_image(size),
    "white": lambda number, seed, size: white_image(size),
    "noise": noise_image,
    "sample": sample_image,
}


@dataclass(frozen=True)
class GeneratedImages:
    """Images made anew from the seed whenever they are loaded."""

    records: tuple[ImageRecord, ...]
    seed: int  # of samples and noise
    image_size: int  # pixels a side

    @property
    def place(self) -> str:
        """Where they come from, in a cache's identity."""
        return "samples"

    def load(self, index: int) -> NDArray[np.uint8]:
        """The image of `records[index]`, (image_size, image_size, 3) uint8 RGB."""
        return generated_image(self.records[index].name, self.seed, self.image_size)


def generate_images(
    images: str, names: Sequence[str], *, seed: int, image_size: int, num_workers: int
) -> GeneratedImages:
    """The set `images` of the generated images called `names` ("sample-00012", "black")."""

    def record(name: str) -> ImageRecord:
        pixels = generated_image(name, seed, image_size)
        return ImageRecord(name, images, hashlib.sha256(pixels.tobytes()).hexdigest())

    records = tuple(in_threads(record, names, num_workers))
    return GeneratedImages(records, seed, image_size)


def generated_image(name: str, seed: int, size: int) -> NDArray[np.uint8]:
    """The generated image `name`, (size, size, 3) uint8; `KeyError` or `ValueError` for others."""
    kind, _, number = name.partition("-")
    return _MAKERS[kind](int(number or 0), seed, size)
