"""Folders of images and masks for tests, laid out as the data sets are."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_image(path: Path, width: int = 40, height: int = 30, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def write_mask(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8)).save(path)
    return path


def half_mask(width: int = 40, height: int = 30, value: int = 255) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    mask[:, width // 2 :] = value
    return mask


def write_pairs(folder: Path, images: str, masks: str, count: int = 12, value: int = 255) -> Path:
    for number in range(count):
        write_image(folder / images / f"picture{number:02}.jpg", seed=number)
        write_mask(folder / masks / f"picture{number:02}.png", half_mask(value=value))
    return folder


def write_voc(root: Path, train: int = 11, val: int = 3) -> Path:
    """The parts of VOCdevkit/VOC2012 that segmentation needs."""
    folder = root / "VOCdevkit" / "VOC2012"
    splits = folder / "ImageSets" / "Segmentation"
    splits.mkdir(parents=True)
    number = 0
    for split, count in (("train", train), ("val", val)):
        names = [f"2007_{number + offset:06}" for offset in range(count)]
        number += count
        (splits / f"{split}.txt").write_text("\n".join(names) + "\n")
        for name in names:
            write_image(folder / "JPEGImages" / f"{name}.jpg")
            mask = half_mask(value=15)
            mask[:2] = 255
            image = Image.fromarray(mask)
            path = folder / "SegmentationClass" / f"{name}.png"
            path.parent.mkdir(exist_ok=True)
            image.putpalette(
                [index for colour in range(256) for index in (colour, 0, 255 - colour)]
            )
            image.save(path)
    return root
