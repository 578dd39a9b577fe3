"""The stage of consistency: from pooled caches of shifted images to how much vectors change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data.cache.pooled.reader import POOLINGS, PooledCache, find_pooled, pooled_calls
from data.calls import keep_calls
from data.intervals import bootstrap_intervals, mean_of
from data.tools.errors import UserError
from data.tools.files import check_writable
from data.tools.terminal import say
from probe.consistency.change import Change
from probe.consistency.config import ConsistencyConfig
from probe.results.placed import CONSISTENCY, replace_runs

EVERY_SHIFT = ""  # in the column `pixels`: the mean over all

Row = dict[str, Any]


def measure_consistency(config: ConsistencyConfig) -> Path:
    """Measure every level of every pooled cache of shifted images; the path of `consistency.csv`.

    Raises `UserError` where there is none, or one is damaged.
    """
    check_writable(config.results_dir, "--results-dir")
    rows: list[Row] = []
    caches = _caches(config)
    for cache in caches:
        say(f"{cache.folder.name}: {cache.identity.n_patches} images")
        rows += _rows(cache, config)
    keep_calls(config.results_dir, [*pooled_calls(caches), config.call("consistency")])
    return replace_runs(config.results_dir / CONSISTENCY, rows)


def plan_consistency(config: ConsistencyConfig) -> str:
    """The plan of `measure_consistency`: a line for every cache, all of which are measured anew."""
    return "\n".join(
        f"{cache.folder}: {cache.identity.n_patches} images under {cache.identity.kind}, into "
        f"{config.results_dir / CONSISTENCY}"
        for cache in _caches(config)
    )


def _caches(config: ConsistencyConfig) -> list[PooledCache]:
    caches = [
        cache
        for cache in find_pooled(config.cache_dir, shifted=True)
        if config.wants(cache.identity.backbone, cache.identity.padding)
        and (not config.levels or set(config.levels) & set(cache.levels))
    ]
    if not caches:
        raise UserError(
            f"no pooled cache in {config.cache_dir} has shifted images of what is asked for: run "
            "extract-features --placed shifts first"
        )
    return caches


def _rows(cache: PooledCache, config: ConsistencyConfig) -> Iterator[Row]:
    identity = cache.identity
    for level in cache.levels:
        if config.levels and level not in config.levels:
            continue
        for pooling in config.pooling or POOLINGS:
            change = Change.of(cache.read(level, pooling))
            about = {
                "run": cache.folder.resolve().name,
                "backbone": identity.backbone,
                "weights": identity.weights,
                "backbone_padding": identity.padding,
                "shift": identity.kind,
                "patches": identity.patches,
                "patch_size": identity.patch_size,
                "level": level,
                "pooling": pooling,
                "n_images": identity.n_patches,
                "between_images": change.between,
                "median_channel": _quantile(change, 0.5),
                "largest_channel": _quantile(change, 1.0),
            }
            every = mean_of(change.images, axis=1)[:, None]
            columns = np.concatenate([every, change.images], axis=1)
            means, intervals = mean_of(columns, axis=0), bootstrap_intervals(columns)
            for number, (mean, (low, high)) in enumerate(zip(means, intervals, strict=True)):
                pixels = str(number) if number else EVERY_SHIFT
                yield {**about, "pixels": pixels, "change": mean, "low": low, "high": high}


def _quantile(change: Change, share: float) -> float:
    defined = change.channels[np.isfinite(change.channels)]
    return float(np.quantile(defined, share)) if len(defined) else np.nan
