"""Coordinates in which the channels that a head reads are uncorrelated and of one size.

Channels of a feature map share large directions and differ in small ones, and a step that suits
the former is far too short for the latter. A linear map M (C, C) of the channels, from their
covariance over training images and cells, evens them out: a head that learns a weight V over M x
can give whatever one over x can, V M, at a step size that suits all directions.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from probe.batches import FeatureBatches, plain_windows

SAMPLE_IMAGES = 256  # of the training images, evenly spaced: 200,000 cells for 1,472 channels
# Directions with less than this share of the largest variance are not enlarged further: float16
# features and bfloat16 products hardly resolve them.
FLOOR = 1e-6


@torch.no_grad()
def channel_covariance(batches: FeatureBatches, rows: np.ndarray, batch_size: int) -> Tensor:
    """Covariance (C, C) of all channels of `batches` over the cells of some of `rows`, float64."""
    count = min(len(rows), SAMPLE_IMAGES)
    chosen = rows[np.linspace(0, len(rows) - 1, count).round().astype(int)]
    channels = sum(batches.channels.values())
    total = torch.zeros(channels, dtype=torch.float64, device=batches.device)
    products = torch.zeros(channels, channels, dtype=torch.float64, device=batches.device)
    cells = 0
    windows = plain_windows(chosen, batches.image_bytes)
    for _, features in batches.batches(windows, batch_size):
        values = features.float()
        total += values.sum(1, dtype=torch.float64)
        products += (values @ values.T).double()
        cells += values.shape[1]
    mean = total / cells
    return products / cells - torch.outer(mean, mean)


def whitening(covariance: Tensor, channels: Iterable[slice]) -> Tensor:
    """M (C, C) float32 for the given ranges of channels of a covariance over all of them.

    The covariance of M x is diagonal, at most 1, and 1 in every direction above the floor.
    """
    index = torch.cat([torch.arange(span.start, span.stop) for span in channels])
    index = index.to(covariance.device)
    variances, directions = torch.linalg.eigh(covariance[index][:, index])
    floor = (FLOOR * variances[-1]).clamp_min(1e-20)  # of channels that are all zero
    return (directions / variances.clamp_min(floor).sqrt()).T.float()
