"""The stage of channels: from caches to the scores of channels and readouts without them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.cache.command import call_into
from data.cache.pooled.reader import POOLINGS, PooledCache, find_pooled, is_pooled, pooled_calls
from data.calls import keep_calls
from data.channels.flips import flip_scores, with_null
from data.channels.spread import Floats, Places, Spread, place_scores
from data.images.placed.placement import HELD_OUT, TEST, TRAIN
from data.protocols import exactly_solved, find_protocol
from data.tools.device import find_device
from data.tools.errors import UserError
from data.tools.files import check_writable
from data.tools.terminal import say
from data.vocabulary import INPUT
from probe.caches import find_caches, holds_caches
from probe.channels.ablation import DRAWS, Readout, ablations
from probe.channels.config import ABLATE, ETA, FLIP, ChannelConfig
from probe.channels.dense import MAP_PLACES, MapReadout
from probe.channels.location import LocationReadout, Part
from probe.placed.readings import without_rounding
from probe.results.placed import ABLATIONS, CHANNELS, replace_runs

READ_POOLING = "mean"  # what is read without some channels: global average pooling, as published
ALIGNED = "none"  # in the column `pooling`: the maps of an aligned cache
FLIPS = ("flip", "flip_signed", "flip_null", "flip_signed_null", "flip_corrected")

Row = dict[str, Any]


def score_channels(config: ChannelConfig) -> Path:
    """Score the channels of every pooled and every aligned cache; the path of `channels.csv`.

    `ablations.csv` beside it has what is read without the foremost channels. Raises `UserError`
    where there is no cache, or no mirrored one to rank by.
    """
    check_writable(config.results_dir, "--results-dir")
    scores: list[Row] = []
    left: list[Row] = []
    caches = _pooled(config)
    for cache in caches.plain:
        for one in _of_pooled(cache, caches, config):
            scores += one[0]
            left += one[1]
    if config.rank == ETA and holds_caches(config.cache_dir):
        for one in _of_aligned(config):
            scores += one[0]
            left += one[1]
    if not scores:
        raise _nothing(config)
    extractions = pooled_calls([*caches.plain, *caches.mirrored])
    if config.rank == ETA and holds_caches(config.cache_dir):
        extractions += [
            call_into(cache.identity.command, cache.folder.parent) for cache in find_caches(config)
        ]
    keep_calls(config.results_dir, [*extractions, config.call("channels")])
    replace_runs(config.results_dir / ABLATIONS, left)
    return replace_runs(config.results_dir / CHANNELS, scores)


def plan_channels(config: ChannelConfig) -> str:
    """The plan of `score_channels`: a line for every cache, all of which are scored anew.

    Nothing is written. Raises `UserError` where there is no cache.
    """
    found = [(cache.folder, cache.levels) for cache in _pooled(config).plain]
    if config.rank == ETA and holds_caches(config.cache_dir):
        found += [(cache.folder, cache.levels) for cache in find_caches(config)]
    if not found:
        raise _nothing(config)
    lines = []
    for folder, levels in found:
        channels = [levels[level] for level in _levels(levels, config)]
        lines.append(
            f"{folder}: {sum(channels)} channels of {len(channels)} levels to score, into "
            f"{config.results_dir / CHANNELS} and {ABLATIONS}"
        )
    return "\n".join(lines)


def _nothing(config: ChannelConfig) -> UserError:
    return UserError(
        f"no cache in {config.cache_dir} has what is asked for: run extract-features --placed "
        "grid first"
    )


@dataclass(frozen=True)
class _Pooled:
    """The pooled caches of a folder, of images as they are and of mirrored ones."""

    plain: list[PooledCache]
    mirrored: list[PooledCache]


def _pooled(config: ChannelConfig) -> _Pooled:
    folder, wants = config.cache_dir, config.wants
    if not any(map(is_pooled, (folder, *folder.glob("*")))):
        return _Pooled([], [])
    plain, mirrored = (
        [
            cache
            for cache in find_pooled(folder, mirrored=m)
            if wants(cache.identity.backbone, cache.identity.padding)
        ]
        for m in (False, True)
    )
    return _Pooled(plain, mirrored)


def _of_pooled(
    cache: PooledCache, caches: _Pooled, config: ChannelConfig
) -> Iterator[tuple[list[Row], list[Row]]]:
    identity = cache.identity
    places = Places(identity.cells, identity.grid)
    split = cache.labels("split").reshape(-1, len(identity.cells))[:, 0]
    for level in _levels(cache.levels, config):
        for pooling in POOLINGS:
            vectors = without_rounding(cache.read(level, pooling))
            scores = place_scores(Spread.of(vectors[split != TEST]), places)
            scores |= _flips(cache, caches, level, pooling, config)
            about = {
                **_about(cache.folder.resolve().name, identity),
                **{"level": level, "pooling": pooling},
            }
            ranking = _ranking(scores, config.rank)
            named = _channel_rows(about, scores, ranking, config.rank)
            say(f"{about['run']}: {level}, {pooling}: {len(ranking)} channels")
            if pooling != READ_POOLING:
                yield named, []
                continue
            parts = (Part.of(vectors[split == part]) for part in (TRAIN, HELD_OUT, TEST))
            readout = LocationReadout(*parts, fill=config.fill)
            shared = {
                **{"metric": "accuracy", "n_test": int((split == TEST).sum())},
                "seed": identity.seed,
            }
            yield named, _ablation_rows({**about, **shared}, readout, ranking, config)


def _of_aligned(config: ChannelConfig) -> Iterator[tuple[list[Row], list[Row]]]:
    device = find_device(config.device)
    for cache in find_caches(config):
        identity = cache.identity
        recipe = exactly_solved(find_protocol(identity.protocol)).training
        for level in _levels(cache.levels, config):
            readout = MapReadout(cache, level, recipe, fill=config.fill, device=device)
            scores = place_scores(readout.spread, MAP_PLACES)
            about = {
                **_about(cache.folder.resolve().name, identity),
                **{"level": level, "pooling": ALIGNED},
            }
            ranking = _ranking(scores, config.rank)
            say(f"{about['run']}: {level}: {len(ranking)} channels")
            shared = {
                **{"metric": "R2", "n_test": len(cache.rows("test"))},
                "seed": identity.seed,
            }
            yield (
                _channel_rows(about, scores, ranking, config.rank),
                _ablation_rows({**about, **shared}, readout, ranking, config),
            )


def _levels(channels: dict[str, int], config: ChannelConfig) -> list[str]:
    known = [level for level in channels if level != INPUT]
    return [level for level in known if not config.levels or level in config.levels]


def _about(run: str, identity: Any) -> Row:
    return {
        "run": run,
        "backbone": identity.backbone,
        "weights": identity.weights,
        "backbone_padding": identity.padding,
    }


def _ranking(scores: dict[str, Floats], rank: str) -> np.ndarray:
    """Channels, the foremost first; of equal ones the first."""
    return np.argsort(-scores[rank.replace("-", "_")], kind="stable")


def _channel_rows(
    about: Row, scores: dict[str, Floats], ranking: np.ndarray, rank: str
) -> list[Row]:
    place = np.empty(len(ranking), int)
    place[ranking] = np.arange(1, len(ranking) + 1)
    unknown = dict.fromkeys(FLIPS, np.full(len(ranking), np.nan))
    every = {**unknown, **scores}
    return [
        {
            **about,
            "channel": channel,
            **{name: float(values[channel]) for name, values in every.items()},
            "rank": int(place[channel]),
            "ranked_by": rank,
        }
        for channel in range(len(ranking))
    ]


def _ablation_rows(
    about: Row, readout: Readout, ranking: np.ndarray, config: ChannelConfig
) -> list[Row]:
    counts = [count for count in config.ablate or ABLATE if count < readout.channels]
    for count in set(config.ablate) - set(counts):
        say(
            f"{about['run']}: {about['level']} has {readout.channels} channels: not {count} removed"
        )
    return [
        {
            **about,
            **{"rank": config.rank, "fill": config.fill, "task": one.task, "head": one.head},
            **{"channels": readout.channels, "ablated": one.ablated, "value": one.value},
            **{"random": one.random, "random_sd": one.random_sd, "draws": DRAWS},
        }
        for one in ablations(readout, ranking, (0, *counts), about["seed"])
    ]


def _flips(
    cache: PooledCache, caches: _Pooled, level: str, pooling: str, config: ChannelConfig
) -> dict[str, Floats]:
    """The published scores and their null, as far as there are mirrored caches."""
    own = _flip(cache, caches, cache.identity.padding, level, pooling)
    if not own and config.rank.startswith(FLIP):
        raise UserError(
            f"--rank {config.rank}: {cache.folder} has no mirrored counterpart: run the "
            "extract-features --placed command that made it again, with --mirrored"
        )
    null = _flip(cache, caches, "circular", level, pooling)
    return with_null(own, null) if own and null else own


def _flip(
    cache: PooledCache, caches: _Pooled, padding: str, level: str, pooling: str
) -> dict[str, Floats]:
    """Flip scores of the network of `cache` under a padding; empty where it was not extracted."""
    pair = []
    for kind in (caches.plain, caches.mirrored):
        found = [
            other
            for other in kind
            if other.identity.padding == padding and _same_study(other, cache)
        ]
        if not found:
            return {}
        vectors = found[0].read(level, pooling).astype(np.float64)
        pair.append(vectors.reshape(-1, vectors.shape[2]))
    return flip_scores(*pair)


def _same_study(one: PooledCache, other: PooledCache) -> bool:
    """Whether two caches differ in their padding and in being mirrored alone."""
    names = [
        *("backbone", "weights_sha256", "normalization", "kind", "grid", "border", "gap"),
        *("patch_size", "canvas", "patches_sha256", "precision", "calibration_images"),
    ]
    return all(getattr(one.identity, name) == getattr(other.identity, name) for name in names)
