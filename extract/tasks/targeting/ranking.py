"""Which channels of a segmentation network say the place most, on its training images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.channels.flips import flip_scores
from data.channels.spread import Floats, Moments, Places
from extract.tasks.targeting.config import FLIP
from extract.tasks.targeting.segmenters import Segmenter


@dataclass(frozen=True)
class Ranking:
    """The channels of a level, the foremost first, and their means over images and places."""

    order: NDArray[np.int64]  # (C,)
    scores: Floats  # (C,), of channel 0, 1, ...
    means: Floats  # (C,)


@torch.no_grad()
def rank_channels(
    segmenter: Segmenter, level: int, rank: str, batches: Iterable[tuple[Tensor, Tensor]]
) -> Ranking:
    """Rank the channels of one level by a share of their variance, or by `flip`, over images."""
    pooled: list[Floats] = []
    mirrored: list[Floats] = []
    moments = None
    for images, _ in batches:
        maps = segmenter.levels(images)[level].double().cpu()  # (B, C, h, w)
        moments = moments or Moments(maps.shape[1], maps.shape[2] * maps.shape[3])
        moments.add(maps.flatten(2).numpy())
        if rank == FLIP:
            pooled.append(maps.mean((2, 3)).numpy())
            flipped = segmenter.levels(images.flip(3))[level]
            mirrored.append(flipped.double().mean((2, 3)).cpu().numpy())
    assert moments is not None, "there are training images"
    spread = moments.spread
    if rank == FLIP:
        scores = flip_scores(np.concatenate(pooled), np.concatenate(mirrored))["flip"]
    else:
        side = maps.shape[2]  # images are square
        places = Places([divmod(cell, side) for cell in range(side * side)], side)
        scores = spread.share(places.groups[rank])
    return Ranking(np.argsort(-scores, kind="stable"), scores, spread.means.mean(0))
