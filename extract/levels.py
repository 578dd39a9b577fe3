"""Every level of an image at 28x28: normalise, run the backbone, align each tap as it appears."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from data.protocols import FeatureRecipe
from data.tools.errors import UserError
from data.vocabulary import GRID, IMAGE_SIZE, INPUT
from extract.backbones.backbone import Backbone
from extract.backbones.normalization import normalize
from extract.backbones.taps import as_map, zero_image
from extract.engine import Engine, torch_engine


def align(level: Tensor, alignment: str) -> Tensor:
    """A level (B, C, h, w) of any dtype at 28x28, always a float32 copy; strides may be any.

    "bilinear" (paper, released): every channel, align_corners=True, (B, C, 28, 28).
    "trilinear" (reproduction): the level as one volume, align_corners=False, (B, 3, 28, 28).
    """
    if alignment == "bilinear":
        return _bilinear(level)
    assert alignment == "trilinear", alignment
    volume = level.float().unsqueeze(1)
    size = (3, GRID, GRID)
    return functional.interpolate(volume, size, mode="trilinear", align_corners=False).squeeze(1)


def _bilinear(level: Tensor) -> Tensor:
    if min(level.shape[2:]) <= 2 * GRID:
        size = (GRID, GRID)
        return functional.interpolate(level.float(), size, mode="bilinear", align_corners=True)
    # A large map is read at 56 of its rows and columns only: pick those before converting them
    # to float32. In bf16 and channels_last this costs 0.2 ms for VGG16's f1 instead of 3.9.
    top, bottom, down = _neighbours(level.shape[2], level.device)
    left, right, across = _neighbours(level.shape[3], level.device)
    rows, columns = torch.cat([top, bottom]), torch.cat([left, right])
    picked = level.permute(0, 2, 3, 1)[:, rows[:, None], columns]  # (B, 56, 56, C)
    upper, lower = picked.permute(0, 3, 1, 2).float().chunk(2, dim=2)
    before, after = torch.lerp(upper, lower, down[:, None]).chunk(2, dim=3)
    return torch.lerp(before, after, across)


def _neighbours(size: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    # For each of 28 points from corner to corner: the cells on either side, and how far between.
    position = torch.arange(GRID, dtype=torch.float64, device=device) * ((size - 1) / (GRID - 1))
    low = position.long().clamp(max=size - 2)
    return low, low + 1, (position - low).float()


def crop_border(level: Tensor, cells: int, name: str) -> Tensor:
    """A level (B, C, h, w) without `cells` rows and columns at every side: a view.

    Raises `UserError` with the `name` of a level of which less than 2x2 cells would be left: they
    could not carry position.
    """
    height, width = level.shape[2:]
    if min(height, width) < 2:
        raise UserError(
            f"level {name} has {height}x{width} cells, which cannot carry position: use a larger "
            "--image-size, or other --taps"
        )
    if min(height, width) - 2 * cells < 2:
        raise UserError(
            f"--crop-border {cells}: level {name} has {height}x{width} cells, and at least 2x2 "
            f"must be left: use at most {max(0, min(height, width) // 2 - 1)}, or other --taps"
        )
    return level[:, :, cells : height - cells, cells : width - cells]


class LevelExtractor:
    """Images in, aligned levels out."""

    def __init__(
        self, backbone: Backbone, features: FeatureRecipe, engine: Engine | None = None
    ) -> None:
        self.backbone = backbone
        self.features = features
        self._engine = engine or torch_engine(backbone)

    @torch.inference_mode()
    def __call__(self, images: Tensor, inputs: Tensor | None = None) -> dict[str, Tensor]:
        """Levels "input", "f1", ... of images (B, 3, S, S): float32, in [0, 1], on its device.

        `inputs`: what the level "input" is made from instead, (B, 3, s, s) alike.
        Each level is float32, (B, C, 28, 28), or (B, 3, 28, 28) under trilinear alignment. The
        backbone runs as far as its last tap, and no unaligned map outlives its own hook.
        """
        backbone, features = self.backbone, self.features
        normalized = normalize(images, backbone.normalization(features.normalization))
        # The level `input` is the same beside every backbone, whatever that one's weights want.
        shown = images if inputs is None else inputs
        shown = normalize(shown, features.normalization) if features.input_normalized else shown
        level_of = {node: level for level, node in backbone.taps.items()}
        levels = {INPUT: self._aligned(INPUT, shown * features.input_scale)}

        def take(node: str, output: Tensor) -> None:
            level = as_map(output, channels_last=backbone.channels_last)
            levels[level_of[node]] = self._aligned(level_of[node], level)

        self._engine(normalized, take)
        return {level: levels[level] for level in (INPUT, *backbone.taps)}

    def _aligned(self, name: str, level: Tensor) -> Tensor:
        cropped = crop_border(level, self.features.crop_border, name)
        return align(cropped, self.features.alignment)

    def channels(self, image_size: int = IMAGE_SIZE) -> Mapping[str, int]:
        """Channels of every level, in order, from one black image of `image_size`."""
        levels = self(zero_image(self.backbone.module, image_size))
        return {level: maps.shape[1] for level, maps in levels.items()}
