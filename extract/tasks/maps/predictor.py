"""What a network finds in images: its maps, their loss, and their scores on a set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from extract.tasks.maps.metrics import SaliencyScores, SegmentationScores
from extract.tasks.maps.network import MapNetwork
from extract.tasks.maps.pairs.masks import VOID


@dataclass
class Predictor:
    """A network, and where and how it computes."""

    network: MapNetwork
    device: torch.device
    dtype: torch.dtype  # of the large products; weights and losses are float32

    def predict(self, images: Tensor) -> Tensor:
        """Logits (B, outputs, S, S) float32 of images (B, 3, S, S) float32 in [0, 1]."""
        mixed = self.dtype != torch.float32
        with torch.autocast(self.device.type, self.dtype, enabled=mixed):
            logits: Tensor = self.network(images)
        return logits

    @torch.no_grad()
    def score(
        self, batches: Iterable[tuple[Tensor, Tensor]], classes: tuple[str, ...]
    ) -> dict[str, float]:
        """Scores of the network on a set, and `loss`, the mean over its batches."""
        scores = SegmentationScores(classes) if classes else SaliencyScores()
        losses = []
        for images, masks in batches:
            logits = self.predict(images)
            losses.append(float(map_loss(logits, masks)))
            for found, mask in zip(to_maps(logits), masks.cpu().numpy(), strict=True):
                scores.add(found, mask.astype(np.uint8))
        return {**scores.scores(), "loss": float(np.mean(losses))}


def map_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross-entropy of logits (B, outputs, S, S) with masks (B, S, S) int64; void left out."""
    if logits.shape[1] == 1:
        return functional.binary_cross_entropy_with_logits(logits[:, 0], masks.float())
    if (masks == VOID).all():
        return logits.sum() * 0  # the mean over no pixel would be NaN
    return functional.cross_entropy(logits, masks, ignore_index=VOID)


def to_maps(logits: Tensor) -> NDArray[Any]:
    """Saliency in [0, 1] (B, S, S) float32, or classes (B, S, S) int64, of logits."""
    maps = logits[:, 0].sigmoid() if logits.shape[1] == 1 else logits.argmax(1)
    return np.asarray(maps.cpu().numpy())
