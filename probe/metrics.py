"""SPC and MAE of maps against one target, with average ranks for ties.

The NumPy functions need no torch. SPC is the Pearson correlation of average ranks, equal to
`scipy.stats.spearmanr`; of a constant map it is undefined (NaN).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

# Scores of maps (N, s, s) float32, one each: (N,) float64, NaN where undefined.
Scorer = Callable[[NDArray[np.float32]], NDArray[np.float64]]


@dataclass(frozen=True)
class Metric:
    """One score of predicted maps; its name is its column wherever scores are written."""

    name: str
    label: str  # in tables and figures
    bounds: tuple[float, float]  # no score, and no interval of one, lies beyond
    # From a target (s, s) float64 and the device to compute on: what scores maps against it.
    against: Callable[[NDArray[np.float64], str], Scorer]
    published: str = ""  # column of the published tables that it answers; empty: of none


def centred_ranks(target: NDArray[np.floating]) -> NDArray[np.float64]:
    """Average ranks of a map, minus their mean, over their norm: (pixels,) float64.

    Zeros when the map is constant.
    """
    from scipy.stats import rankdata  # slow to import, and tables need no ranks

    ranks = rankdata(target.ravel())
    ranks -= ranks.mean()
    norm = np.linalg.norm(ranks)
    return ranks / norm if norm > 0 else ranks


def spearman(maps: NDArray[np.float32], target_ranks: NDArray[np.float64]) -> NDArray[np.float64]:
    """SPC of each map, (N, s, s) float32, with the target behind `centred_ranks`: (N,) float64."""
    return np.array([_spearman(values.ravel(), target_ranks) for values in maps])


def _spearman(values: NDArray[np.float32], target_ranks: NDArray[np.float64]) -> float:
    if not np.isfinite(values).all():
        return np.nan
    order, tied = _sorted_places(values)
    ranks = _average_ranks(tied)
    # Sums by einsum, not BLAS: its threads would fight the threads that score other maps.
    norm = np.sqrt(np.einsum("i,i", ranks, ranks))
    if norm == 0 or not target_ranks.any():
        return np.nan
    return float(np.einsum("i,i", ranks, target_ranks.take(order)) / norm)


def _sorted_places(values: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The places (n,) of values in order of size, and whether the next has the same value (n - 1,).

    NumPy's stable sort of 16-bit integers is a radix sort: low half, then high half, takes a
    quarter of the time of sorting the floats.
    """
    keys = _ordered_bits(values)
    low = np.argsort(keys.astype(np.uint16), kind="stable")
    high = (keys >> np.uint32(16)).astype(np.uint16).take(low)
    order = low.take(np.argsort(high, kind="stable"))
    keys = keys.take(order)
    return order, keys[1:] == keys[:-1]


def _average_ranks(tied: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Ranks (n,) of sorted values, minus their mean; every run of equal values has its average."""
    count = len(tied) + 1
    ranks = np.arange(count, dtype=np.float64) - (count - 1) / 2.0
    pairs = np.flatnonzero(tied)
    firsts = pairs[np.diff(pairs, prepend=-2) > 1]
    lasts = pairs[np.diff(pairs, append=count) > 1] + 1
    lengths = lasts - firsts + 1
    places = np.repeat(lasts + 1 - lengths.cumsum(), lengths) + np.arange(lengths.sum())
    ranks[places] = np.repeat((ranks[firsts] + ranks[lasts]) / 2.0, lengths)
    return ranks


def _ordered_bits(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    # IEEE 754: as unsigned integers, positive floats keep their order and negative ones reverse
    # it. Adding zero turns -0.0 into 0.0, its equal.
    bits = (np.asarray(values, dtype=np.float32) + np.float32(0.0)).view(np.uint32)
    sign = np.uint32(0x80000000)
    return np.where(bits & sign, ~bits, bits | sign)


def mean_absolute_error(
    maps: NDArray[np.floating], target: NDArray[np.floating]
) -> NDArray[np.float64]:
    """MAE of each map, (N, s, s), against `target` (s, s) of the same dtype: (N,) float64."""
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


def _spearman_against(target: NDArray[np.float64], device: str) -> Scorer:
    ranks = centred_ranks(target)
    if device == "cpu":
        return lambda maps: spearman(maps, ranks)
    import torch

    on_device = torch.from_numpy(ranks).to(device)
    return lambda maps: spearman_torch(torch.from_numpy(maps).to(device), on_device).cpu().numpy()


def _error_against(target: NDArray[np.float64], device: str) -> Scorer:
    narrow = target.astype(np.float32)
    return lambda maps: mean_absolute_error(maps, narrow)


# By name, in the order of the columns; another metric is one more entry.
METRICS = {
    metric.name: metric
    for metric in (
        Metric("spc", "SPC", (-1.0, 1.0), _spearman_against, published="spc"),
        Metric("mae", "MAE", (0.0, np.inf), _error_against, published="mae"),
    )
}
