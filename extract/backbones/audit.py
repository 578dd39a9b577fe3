"""The exactness audit: how much a pooled channel changes over the places of a patch.

Where no border is left, a patch gives the same pooled vector at every place whose distance from
the others is a multiple of all strides. What changes is the border, or a window that hangs over
it, and no list of what was replaced proves as much.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from data.images.samples import sample_image
from data.vocabulary import IMAGE_SIZE
from extract.backbones.backbone import Backbone
from extract.backbones.normalization import normalize
from extract.backbones.taps import as_map, run_taps

PATCH = 32  # pixels a side: a multiple of every stride of the usual backbones


def place_changes(
    backbone: Backbone, *, normalization: str, image_size: int = IMAGE_SIZE
) -> dict[str, float]:
    """For every level the largest relative change of a mean-pooled channel over five places.

    A sample image of 32 pixels lies in a corner of a black canvas of `image_size` pixels, in
    another, ..., and in the middle, always a multiple of 32 pixels away. A channel's change is the
    range of its mean over the places, relative to the mean of its magnitude; a channel that is
    zero everywhere does not change. In float64, because channels that are nearly dead would show
    the rounding of float32; the network is given back in its own precision.
    """
    parameter = next(backbone.module.parameters())
    images = placed_patches(image_size).to(parameter.device, torch.float64)
    levels = {node: level for level, node in backbone.taps.items()}
    changes: dict[str, float] = {}

    def take(node: str, output: Tensor) -> None:
        maps = as_map(output, channels_last=backbone.channels_last)
        means, magnitudes = maps.mean((2, 3)), maps.abs().mean((0, 2, 3))
        change = (means.amax(0) - means.amin(0)) / magnitudes
        changes[levels[node]] = float(change[magnitudes > 0].max()) if magnitudes.any() else 0.0

    dtype = parameter.dtype
    backbone.module.double()
    try:
        with torch.inference_mode(), torch.autocast(images.device.type, enabled=False):
            run_taps(backbone.module, list(levels), normalize(images, normalization), take)
    finally:
        backbone.module.to(dtype)
    return {level: changes[level] for level in backbone.taps}


def placed_patches(image_size: int) -> Tensor:
    """The images of the audit, (5, 3, S, S) float64 in [0, 1]."""
    patch = sample_image(0, 0, min(PATCH, image_size)).transpose(2, 0, 1) / 255.0
    last = max(0, image_size // PATCH - 1)
    cells = [*itertools.product((0, last), repeat=2), (last // 2, last // 2)]
    images = torch.zeros(len(cells), 3, image_size, image_size, dtype=torch.float64)
    for image, (row, column) in zip(images, cells, strict=True):
        top, left = row * PATCH, column * PATCH
        image[:, top : top + PATCH, left : left + PATCH] = torch.from_numpy(patch)
    return images
