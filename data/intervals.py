"""95 % intervals by resampling test images or patches (docs/methods.md, "Uncertainty").

The studentised bootstrap ("bootstrap-t"; Efron and Tibshirani 1993, chapter 12.5): unlike the
percentile bootstrap it keeps its coverage with the eight noise images and with skewed scores.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray
from scipy import stats

RESAMPLES = 2000
LEAST_IMAGES = 5  # of fewer there is nothing to resample
COVERAGE = 0.95
SEED = 0  # the same results give the same intervals


def bootstrap_intervals(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intervals of the mean of every column.

    `values` is (images, columns), NaN where undefined: those images are left out of their column.
    Returns (columns, 2), low and high; NaN where fewer than `LEAST_IMAGES` images are defined.
    """
    intervals = np.full((values.shape[1], 2), np.nan)
    defined = np.isfinite(values)
    counts = defined.sum(axis=0)
    for count in np.unique(counts[counts >= LEAST_IMAGES]):
        columns = np.flatnonzero(counts == count)
        kept = np.stack([values[defined[:, column], column] for column in columns], axis=1)
        intervals[columns] = _studentised(kept)
    return intervals


def mean_of(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Means along an axis over what is defined; NaN where nothing is."""
    defined = np.isfinite(values)
    counts = defined.sum(axis=axis)
    sums = np.where(defined, values, 0.0).sum(axis=axis)
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)


def replicated_intervals(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intervals of the mean of every column over images and over networks alike.

    `values` is (images, networks, columns), NaN where undefined; returns (columns, 2). The interval
    over images, of the mean over networks, and Student's over the networks' means are joined by the
    squares of their arms (Zou and Donner 2008, for sums of independent parts). One network, or one
    that is defined, has no spread: of one the images' interval is left, of several NaN.
    """
    over_images = mean_of(values, axis=1)
    intervals = bootstrap_intervals(over_images)
    if values.shape[1] == 1:
        return intervals
    centre = mean_of(over_images, axis=0)
    arm = over_networks(mean_of(values, axis=0))
    low, high = np.hypot(centre - intervals[:, 0], arm), np.hypot(intervals[:, 1] - centre, arm)
    return np.stack([centre - low, centre + high], axis=1)


def over_networks(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Student's arm of the mean of every column over networks; `means` is (networks, columns).

    NaN values are left out; NaN where fewer than two are defined.
    """
    counts = np.isfinite(means).sum(axis=0)
    squares = np.square(means - mean_of(means, axis=0))
    freedom = np.where(counts > 1, counts - 1, np.nan)
    error = np.sqrt(mean_of(squares, axis=0) / freedom)  # of the mean over networks
    arm: NDArray[np.float64] = stats.t.ppf((1.0 + COVERAGE) / 2.0, freedom) * error
    return arm


def bootstrap_interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """The interval of the mean of `values`, (images,)."""
    low, high = bootstrap_intervals(np.asarray(values, dtype=np.float64)[:, None])[0]
    return float(low), float(high)


def _studentised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intervals (columns, 2) of the means of `values`, (images, columns), all defined."""
    count = len(values)
    mean = values.mean(axis=0)
    centred = values - mean
    error = centred.std(axis=0, ddof=1) / np.sqrt(count)
    weights = _resamples(count)
    shift = weights @ centred
    spread = np.sqrt(np.maximum(weights @ np.square(centred) - np.square(shift), 0.0) / (count - 1))
    # A resample of one image alone has no spread: infinitely far off, whichever way.
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = shift / spread
    ratio[:, error <= 1e-12] = 0.0  # all scores are equal
    tail = (1.0 - COVERAGE) / 2.0
    # No interpolation: between two infinities there is nothing.
    low, high = np.quantile(ratio, [1.0 - tail, tail], axis=0, method="nearest")
    return np.stack([mean - low * error, mean - high * error], axis=1)


@functools.cache
def _resamples(count: int) -> NDArray[np.float64]:
    """How often each image is drawn, over the number drawn: (RESAMPLES, count)."""
    generator = np.random.default_rng(SEED)
    return generator.multinomial(count, np.full(count, 1.0 / count), size=RESAMPLES) / count
