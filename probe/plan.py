"""Which runs a command asks for: caches, recipe, and the heads of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from data.cache.identity import Identity
from data.cache.manifest import MANIFEST
from data.cache.reader import FeatureCache
from data.protocols import Protocol, TrainingRecipe, exactly_solved, find_protocol, without_sigmoid
from data.targets import PATTERNS
from data.tools.errors import UserError
from data.vocabulary import ALL_LEVELS, INPUT_LEVELS, PIXELS
from probe.config import ProbeConfig
from probe.heads.spec import HeadSpec, grid_heads, table_heads

KERNEL_SIZES, DEPTHS, PROBE_PADDINGS = (1, 3, 5, 7), (1, 2, 3), (0, 1, 2, 3)


@dataclass(frozen=True)
class Run:
    """Heads to train together from one cache with one recipe."""

    name: str  # folder below the results
    cache: FeatureCache
    protocol: str
    recipe: TrainingRecipe
    heads: tuple[HeadSpec, ...]
    reads_pixels: bool  # the paper's PosENet rows: only the level `input`, whatever the backbone

    @property
    def identity(self) -> Identity:
        """What of the cache decides the run: of the pixels' runs, not the backbone."""
        return self.cache.identity.of_pixels() if self.reads_pixels else self.cache.identity

    def columns(self) -> dict[str, Any]:
        """The columns of `scores.csv` that describe the run."""
        return {
            "backbone": self.identity.backbone,
            "weights": self.identity.weights,
            "backbone_padding": self.identity.padding,
            "protocol": self.protocol,
            "normalization": self.identity.features.normalization,
        }


def plan_runs(config: ProbeConfig) -> list[Run]:
    """The runs of a command, in the order of the caches' names; those of the pixels come last.

    Raises `UserError` when there is no suitable cache, an option has no such value, the caches
    hold different images, or nothing is left to train.
    """
    _check_options(config)
    runs: list[Run] = []
    pixels: dict[str, Run] = {}
    for cache in _caches(config):
        protocol = _protocol(config, cache)
        suffix = "" if protocol.name == cache.identity.protocol else f"-{protocol.name}"
        heads = _heads(config, cache)
        if config.solver == "exact":
            protocol, suffix = exactly_solved(protocol), f"{suffix}-exact"
            heads = [head for head in heads if head.depth == 1]
        elif config.linear and protocol.training.sigmoid:
            protocol, suffix = without_sigmoid(protocol), f"{suffix}-linear"
        recipe = _override(protocol.training, config)
        for reads_pixels in (False, True):
            chosen = tuple(h for h in heads if (h.levels == INPUT_LEVELS) == reads_pixels)
            name = (_pixels_name(cache) if reads_pixels else cache.folder.name) + suffix
            run = Run(name, cache, protocol.name, recipe, chosen, reads_pixels)
            if not reads_pixels:
                runs += [run] if chosen else []
            elif name not in pixels:
                pixels[name] = run  # the pixels are the same in every cache: train them once
            elif _images(pixels[name].cache) != _images(cache):
                raise UserError(
                    f"{pixels[name].cache.folder} and {cache.folder} hold different images, so "
                    "their scores cannot stand in one table: keep them in separate --cache-dir"
                )
    runs += [run for run in pixels.values() if run.heads]
    if not runs:
        raise UserError("no head is left to train: the options leave none of the sweep's")
    return runs


def _check_options(config: ProbeConfig) -> None:
    choices: list[tuple[str, tuple[Any, ...], tuple[Any, ...]]] = [
        ("--kernel-size", config.kernel_size, KERNEL_SIZES),
        ("--depth", config.depth, DEPTHS),
        ("--probe-padding", config.probe_padding, PROBE_PADDINGS),
        ("--pattern", config.pattern, PATTERNS),
    ]
    for option, values, good in choices:
        for value in values:
            if value not in good:
                listed = ", ".join(map(str, good))
                raise UserError(f"{option} {value} is not supported: use one of {listed}")
    for option, number in (
        ("--seeds", config.seeds),
        ("--epochs", config.epochs),
        ("--batch-size", config.batch_size),
    ):
        if number is not None and number < 1:
            raise UserError(f"{option} {number} is not positive: use 1 or more")
    if config.solver == "exact":
        _check_exact(config)
    elif config.learning_curve:
        raise UserError("--learning-curve needs nested solutions: add --solver exact")


def _check_exact(config: ProbeConfig) -> None:
    for option, asked, reason in (
        ("--epochs", config.epochs, "it takes no steps"),
        ("--seeds", config.seeds > 1, "it starts from no weights"),
        ("--precision", config.precision == "bf16", "its products are fp32, its sums fp64"),
        ("--linear", config.linear, "its heads are linear"),
        ("--preload", config.preload in ("ram", "gpu"), "it reads every image once"),
        ("--depth", set(config.depth) - {1}, "only a single convolution is linear"),
    ):
        if asked:
            raise UserError(f"--solver exact has no use for {option}: {reason}; leave it out")


def _caches(config: ProbeConfig) -> list[FeatureCache]:
    folders = sorted(path.parent for path in config.cache_dir.glob(f"*/{MANIFEST}"))
    if not folders:
        raise UserError(f"no feature cache in {config.cache_dir}: run extract-features first")
    caches = [FeatureCache(folder) for folder in folders]
    if config.backbone:
        found = sorted({cache.identity.backbone for cache in caches})
        for name in config.backbone:
            if name not in found:
                raise UserError(
                    f"no cache of backbone {name!r} in {config.cache_dir}: it has "
                    f"{', '.join(found)}; run extract-features --backbone {name} first"
                )
        caches = [cache for cache in caches if cache.identity.backbone in config.backbone]
    if config.protocol:
        features = find_protocol(config.protocol).features
        caches = [c for c in caches if c.identity.features.taps == features.taps]
        if not caches:
            raise UserError(
                f"no cache in {config.cache_dir} fits --protocol {config.protocol}: run "
                f"extract-features --protocol {features.taps} first"
            )
    return caches


def _protocol(config: ProbeConfig, cache: FeatureCache) -> Protocol:
    return find_protocol(config.protocol or cache.identity.protocol)


def _override(recipe: TrainingRecipe, config: ProbeConfig) -> TrainingRecipe:
    return replace(
        recipe,
        epochs=config.epochs or recipe.epochs,
        batch_size=config.batch_size or recipe.batch_size,
    )


def _heads(config: ProbeConfig, cache: FeatureCache) -> list[HeadSpec]:
    levels = [_parse_levels(text, cache) for text in config.levels]
    if not config.sweep:
        return grid_heads(
            levels or [_backbone_levels(cache)],
            config.kernel_size or (3,),
            config.depth or (1,),
            config.probe_padding or (0,),
            config.pattern or PATTERNS,
            range(config.seeds),
        )
    identity = cache.identity
    every = table_heads(
        identity.backbone, identity.padding, _backbone_levels(cache), range(config.seeds)
    ) + table_heads(PIXELS, "-", INPUT_LEVELS, range(config.seeds))
    narrowed: list[Callable[[HeadSpec], bool]] = [
        lambda head: not levels or head.levels in levels,
        lambda head: not config.kernel_size or head.kernel_size in config.kernel_size,
        lambda head: not config.depth or head.depth in config.depth,
        lambda head: not config.probe_padding or head.probe_padding in config.probe_padding,
        lambda head: not config.pattern or head.pattern in config.pattern,
    ]
    return [head for head in every if all(keep(head) for keep in narrowed)]


def _backbone_levels(cache: FeatureCache) -> tuple[str, ...]:
    return tuple(level for level in cache.levels if level not in INPUT_LEVELS)


def _parse_levels(text: str, cache: FeatureCache) -> tuple[str, ...]:
    if text == ALL_LEVELS:
        return _backbone_levels(cache)
    asked = text.split("+")
    for level in asked:
        if level not in cache.levels:
            raise UserError(
                f"unknown level {level!r} in --levels {text}: {cache.folder} has "
                f"{', '.join(cache.levels)}, joined by +, or all"
            )
    return tuple(level for level in cache.levels if level in asked)


def _pixels_name(cache: FeatureCache) -> str:
    identity = cache.identity
    stem = f"{identity.backbone}-{identity.weights}-{identity.padding}"
    return PIXELS + cache.folder.name.removeprefix(stem)


def _images(cache: FeatureCache) -> tuple[Any, ...]:
    return (*cache.records, cache.identity.features)
