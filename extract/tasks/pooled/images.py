"""Images of the networks with global pooling: patches, in parts, on a canvas of mean grey."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from data.images.placed.patches import Patches, cifar_test, load_patches
from data.images.placed.placement import HELD_OUT, TEST, TRAIN, Layout, PlacedImages
from data.tools.errors import UserError
from data.tools.settings import spelled
from extract.tasks.pooled.config import PooledConfig

SHAPES, ALL = 2000, 1_000_000  # patches, unless asked otherwise
_CIFAR = ("cifar10", "cifar100")


@dataclass(frozen=True)
class Part:
    """Patches (N, 3, P, P) float32, normalised, and what they show (N,) int64."""

    patches: Tensor
    shown: Tensor

    def __len__(self) -> int:
        return len(self.shown)

    def to(self, device: torch.device) -> Part:
        """The same on a device."""
        return Part(self.patches.to(device), self.shown.to(device))


@dataclass(frozen=True)
class Parts:
    """The patches of a training; `sha256` is of all of them."""

    train: Part
    held_out: Part
    test: Part
    classes: int
    sha256: str


def load_parts(config: PooledConfig) -> Parts:
    """Patches to train on, to choose the epoch by, and to score on.

    Of CIFAR, its own test images are scored on, and a tenth of its training images is held out;
    other sets are split 70, 10, 20 as placed studies are. Normalised by the mean and the standard
    deviation of every channel of the training patches. Raises `UserError` where the set cannot be
    had or has too few patches.
    """
    name, size, seed = config.patches, config.patch_size, config.seed
    limit = config.patch_limit or (SHAPES if name == "shapes" else ALL)
    found = load_patches(name, limit, size, seed=seed, root=config.patch_root)
    split = PlacedImages(found, Layout("grid", 1, size), "black", seed).split
    pixels, shown, digest = found.pixels, found.classes.astype(np.int64), found.sha256
    if name in _CIFAR:
        test = cifar_test(name, limit, size, config.patch_root)
        of_test = np.full(len(test.pixels), TEST)
        split = np.concatenate([np.where(split == TEST, TRAIN, split), of_test])
        pixels = np.concatenate([pixels, test.pixels])
        shown = np.concatenate([shown, test.classes])
        digest += test.sha256
    classes = _class_count(config, found)
    kept = shown < classes
    grey = pixels[kept & (split == TRAIN)]
    mean, spread = grey.mean((0, 1, 2)), grey.std((0, 1, 2))
    parts = []
    for part in (TRAIN, HELD_OUT, TEST):
        of_part = kept & (split == part)
        values = (pixels[of_part] - mean) / np.where(spread > 0, spread, 1)
        images = torch.from_numpy(values.astype(np.float32)).permute(0, 3, 1, 2).contiguous()
        parts.append(Part(images, torch.from_numpy(shown[of_part])))
    if min(map(len, parts)) < 2:
        raise UserError(
            f"{len(pixels)} patches of {classes} classes leave a part with fewer than two: raise "
            f"{spelled('patch_limit')}"
        )
    train, held_out, tested = parts
    return Parts(train, held_out, tested, classes, digest)


def _class_count(config: PooledConfig, found: Patches) -> int:
    count = len(found.class_names)
    if (config.classes or 0) > count:
        raise UserError(
            f"{spelled('classes')} {config.classes}: {found.name} has {count}; give fewer"
        )
    return config.classes or count


def laid(patches: Tensor, cells: Tensor, grid: int) -> Tensor:
    """Patches (B, 3, P, P) at their cells (B,), on canvases (B, 3, k P, k P) of 0.

    0 after normalisation is the mean colour, as in the authors' code; cells are numbered by rows.
    """
    count, channels, size = patches.shape[:3]
    canvas = patches.new_zeros(count, channels, grid, size, grid, size)
    which = torch.arange(count, device=patches.device)
    canvas[which, :, cells // grid, :, cells % grid] = patches
    return canvas.reshape(count, channels, grid * size, grid * size)


def moved(images: Tensor, rows: Tensor, columns: Tensor, kind: str, size: int) -> Tensor:
    """Images moved, each by its own whole pixels down and to the right (B,), cut to S x S.

    - "crop": the window of a larger image (B, C, S + m, S + m) that begins so much before its last.
    - "zero": zeros come in where it came from. - "roll": what leaves comes in on the other side.
    """
    along = torch.arange(size, device=images.device)
    start = images.shape[2] - size if kind == "crop" else 0
    y, x = (along + start - by[:, None] for by in (rows, columns))  # (B, S): where to read
    which = torch.arange(len(images), device=images.device)[:, None, None]
    rows_read, columns_read = y % images.shape[2], x % images.shape[3]
    read = images.permute(0, 2, 3, 1)[which, rows_read[:, :, None], columns_read[:, None]]
    if kind == "zero":
        inside = ((y >= 0) & (y < size))[:, :, None] & ((x >= 0) & (x < size))[:, None]
        read = read * inside[..., None]
    return read.permute(0, 3, 1, 2)
