"""Pooled vectors: mean and maximum of each tap's own map, taken before anything is aligned."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.vocabulary import INPUT
from extract.backbones.backbone import Backbone
from extract.backbones.normalization import normalize
from extract.backbones.taps import as_map, run_taps


class PooledExtractor:
    """Images in, pooled vectors out. An aligned map would weigh the cells of its border anew."""

    def __init__(
        self, backbone: Backbone, normalization: str, *, device: torch.device, dtype: torch.dtype
    ) -> None:
        backbone.module.to(device).to(memory_format=torch.channels_last)
        self.backbone = backbone
        self._normalization = normalization
        self._device = device
        self._dtype = dtype

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> dict[str, NDArray[np.float32]]:
        """`<level>/mean` and `<level>/max`, (B, C), of images (B, S, S, 3) uint8.

        The level `input` is the image itself, in [0, 1].
        """
        pixels = images.to(self._device).permute(0, 3, 1, 2).float().div_(255)
        level_of = {node: level for level, node in self.backbone.taps.items()}
        vectors = _pooled(INPUT, pixels)

        def take(node: str, output: Tensor) -> None:
            maps = as_map(output, channels_last=self.backbone.channels_last)
            vectors.update(_pooled(level_of[node], maps))

        enabled = self._dtype != torch.float32
        with torch.autocast(self._device.type, self._dtype, enabled=enabled):
            inputs = normalize(pixels, self._normalization)
            run_taps(self.backbone.module, list(level_of), inputs, take)
        return vectors

    def channels(self, image_size: int) -> dict[str, int]:
        """Channels of every level, in order, from one black image."""
        pooled = self(torch.zeros(1, image_size, image_size, 3, dtype=torch.uint8))
        return {level: pooled[f"{level}/mean"].shape[1] for level in (INPUT, *self.backbone.taps)}


def _pooled(level: str, maps: Tensor) -> dict[str, NDArray[np.float32]]:
    cells = maps.float().flatten(2)  # (B, C, h * w)
    pooled = {"mean": cells.mean(2, dtype=torch.float64).float(), "max": cells.amax(2)}
    return {f"{level}/{name}": vector.cpu().numpy() for name, vector in pooled.items()}
