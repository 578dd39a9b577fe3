"""SPC and MAE of maps against one target, with average ranks for ties.

The NumPy functions need no torch. SPC is the Pearson correlation of average ranks, equal to
`scipy.stats.spearmanr`; of a constant map it is undefined (NaN).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

if TYPE_CHECKING:
    from torch import Tensor

_INDEX_BITS = np.uint64(32)


def centred_ranks(target: NDArray[np.floating]) -> NDArray[np.float64]:
    """Average ranks of a map, minus their mean, over their norm: (pixels,) float64.

    Zeros when the map is constant.
    """
    ranks = rankdata(target.ravel())
    ranks -= ranks.mean()
    norm = np.linalg.norm(ranks)
    return ranks / norm if norm > 0 else ranks


def spearman(maps: NDArray[np.float32], target_ranks: NDArray[np.float64]) -> NDArray[np.float64]:
    """SPC of each map, (N, s, s) float32, with the target behind `centred_ranks`: (N,) float64."""
    return np.array([_spearman(values.ravel(), target_ranks) for values in maps])


def _spearman(values: NDArray[np.float32], target_ranks: NDArray[np.float64]) -> float:
    # One sort of (value, index) packed into 64 bits: NumPy sorts integers far faster than it
    # argsorts floats, and equal values end up side by side.
    if not np.isfinite(values).all():
        return np.nan
    packed = _ordered_bits(values).astype(np.uint64) << _INDEX_BITS
    packed |= np.arange(values.size, dtype=np.uint64)
    packed.sort()
    order = packed.astype(np.uint32)  # the low half: the index
    ranks = np.arange(values.size, dtype=np.float64)
    firsts = np.flatnonzero(np.diff(packed >> _INDEX_BITS)) + 1
    if firsts.size + 1 < values.size:  # ties: every run takes its average rank
        bounds = np.concatenate(([0], firsts, [values.size]))
        runs = np.diff(bounds)
        ranks = np.repeat((bounds[:-1] + bounds[1:] - 1) / 2.0, runs)
    ranks -= (values.size - 1) / 2.0
    norm = np.sqrt(ranks @ ranks)
    if norm == 0 or not target_ranks.any():
        return np.nan
    return float(ranks @ target_ranks[order] / norm)


def _ordered_bits(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    # IEEE 754: as unsigned integers, positive floats keep their order and negative ones reverse
    # it. Adding zero turns -0.0 into 0.0, its equal.
    bits = (np.asarray(values, dtype=np.float32) + np.float32(0.0)).view(np.uint32)
    sign = np.uint32(0x80000000)
    return np.where(bits & sign, ~bits, bits | sign)


def mean_absolute_error(
    maps: NDArray[np.floating], target: NDArray[np.floating]
) -> NDArray[np.float64]:
    """MAE of each map, (N, s, s), against `target` (s, s): (N,) float64."""
    return np.abs(maps - target).mean(axis=(1, 2), dtype=np.float64)


def spearman_torch(maps: Tensor, target_ranks: Tensor) -> Tensor:
    """SPC of each map, (N, s, s), on the maps' device: (N,) float64, NaN where undefined.

    `target_ranks` is `centred_ranks` as a float64 tensor, (pixels,).
    """
    import torch

    values, order = maps.flatten(1).sort(dim=1)
    count = values.shape[1]
    position = torch.arange(count, device=values.device).expand_as(values)
    starts = torch.ones_like(values, dtype=torch.bool)
    starts[:, 1:] = values[:, 1:] != values[:, :-1]
    ends = torch.ones_like(starts)
    ends[:, :-1] = starts[:, 1:]
    # The first and last position of the run of equal values that each sorted value belongs to.
    first = torch.where(starts, position, 0).cummax(dim=1).values
    last = torch.where(ends, position, count).flip(1).cummin(dim=1).values.flip(1)
    ranks = (first + last).double() / 2 - (count - 1) / 2
    norm = ranks.square().sum(1).sqrt() * target_ranks.norm()
    correlation = (ranks * target_ranks[order]).sum(1) / norm
    undefined = (norm == 0) | ~torch.isfinite(maps.flatten(1)).all(1)
    return torch.where(undefined, torch.nan, correlation)
