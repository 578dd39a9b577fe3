"""Every level of an image at 28x28: normalise, run the backbone, align each tap as it appears."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from data.protocols import FeatureRecipe
from extract.backbones import Backbone
from extract.normalization import normalize
from extract.taps import as_map, run_taps, zero_image

GRID = 28  # cells a side of every aligned level


def align(level: Tensor, alignment: str) -> Tensor:
    """A level (B, C, h, w) at 28x28, always a float32 copy.

    "bilinear" (paper, released): every channel, align_corners=True, (B, C, 28, 28).
    "trilinear" (reproduction): the level as one volume, align_corners=False, (B, 3, 28, 28).
    """
    level = level.float()
    if alignment == "bilinear":
        size = (GRID, GRID)
        return functional.interpolate(level, size, mode="bilinear", align_corners=True)
    assert alignment == "trilinear", alignment
    volume = level.unsqueeze(1)
    aligned = functional.interpolate(volume, (3, GRID, GRID), mode="trilinear", align_corners=False)
    return aligned.squeeze(1)


class LevelExtractor:
    """Images in, aligned levels out."""

    def __init__(self, backbone: Backbone, features: FeatureRecipe) -> None:
        self.backbone = backbone
        self.features = features

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Levels "input", "f1", ... of images (B, 3, S, S): float32, in [0, 1], on its device.

        Each level is float32, (B, C, 28, 28), or (B, 3, 28, 28) under trilinear alignment. The
        backbone runs as far as its last tap, and no unaligned map outlives its own hook.
        """
        backbone, features = self.backbone, self.features
        normalized = normalize(images, features.normalization)
        shown = normalized if features.input_normalized else images
        levels = {"input": align(shown * features.input_scale, features.alignment)}
        aligned: dict[str, Tensor] = {}

        def take(node: str, output: Tensor) -> None:
            level = as_map(output, channels_last=backbone.channels_last)
            aligned[node] = align(level, features.alignment)

        run_taps(backbone.module, list(backbone.taps.values()), normalized, take)
        return levels | {level: aligned[node] for level, node in backbone.taps.items()}

    def channels(self, image_size: int = 224) -> Mapping[str, int]:
        """Channels of every level, in order, from one black image of `image_size`."""
        levels = self(zero_image(self.backbone.module, image_size))
        return {level: maps.shape[1] for level, maps in levels.items()}
