"""Which runs a command asks for: caches, recipe, and the heads of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from data.cache.identity import Identity
from data.cache.names import cache_name, recipe_suffix
from data.cache.reader import FeatureCache
from data.protocols import Protocol, TrainingRecipe, exactly_solved, find_protocol, without_sigmoid
from data.targets import PATTERNS
from data.tools.errors import UserError
from data.tools.settings import listed
from data.tools.terminal import say
from data.vocabulary import ALL_LEVELS, INPUT_LEVELS, PIXELS
from probe import results
from probe.caches import content_digest, find_caches
from probe.config import ProbeConfig
from probe.heads.paper import table_heads
from probe.heads.spec import DENSE, HeadSpec, grid_heads


@dataclass(frozen=True)
class Run:
    """Heads to train together from one cache with one recipe."""

    name: str  # folder below the results
    cache: FeatureCache
    protocol: Protocol
    heads: tuple[HeadSpec, ...]
    weights: str  # what the backbone's are called in the results
    reads_pixels: bool  # the paper's PosENet rows: only the level `input`, whatever the backbone

    @property
    def recipe(self) -> TrainingRecipe:
        """What decides the heads, given the features."""
        return self.protocol.training

    @property
    def identity(self) -> Identity:
        """What of the cache decides the run: of the pixels' runs, not the backbone."""
        return self.cache.identity.of_pixels() if self.reads_pixels else self.cache.identity

    def columns(self) -> dict[str, Any]:
        """The columns of `scores.csv` that describe the run."""
        return {
            "backbone": self.identity.backbone,
            "weights": self.weights,
            "backbone_padding": self.identity.padding,
            "protocol": self.protocol.name,
            "normalization": self.identity.features.normalization,
        }


def plan_runs(config: ProbeConfig) -> list[Run]:
    """The runs of a command, in the order of the caches' names; those of the pixels come last.

    Raises `UserError` when there is no suitable cache, an option has no such value, the caches
    hold different images, or nothing is left to train.
    """
    caches = find_caches(config, config.protocol)
    runs = [_backbone_run(config, cache, caches[:place]) for place, cache in enumerate(caches)]
    idle = [run.cache.folder.name for run in runs if not run.heads]
    runs += _once_each([_pixels_run(config, cache) for cache in caches])
    runs = [run for run in runs if run.heads]
    if not runs:
        raise UserError(
            "no head is left to train: the options leave none of the sweep's; leave --sweep out to "
            "train every combination of them"
        )
    if config.sweep and config.levels != INPUT_LEVELS and idle:
        say(
            f"note: no head of the paper's tables on {', '.join(idle)} is left by these options: "
            "the sweep leaves it out; leave --sweep out to train every combination of them"
        )
    return runs


def _backbone_run(config: ProbeConfig, cache: FeatureCache, earlier: list[FeatureCache]) -> Run:
    heads = tuple(head for head in _heads(config, cache) if head.levels != INPUT_LEVELS)
    protocol, suffix = _protocol(config, cache)
    own = cache_name(cache.identity)
    trained_from = _trained_from(config, own + suffix)
    rivals = [other.identity for other in earlier if cache_name(other.identity) == own]
    weights = _weights_label(cache.identity, [*rivals, *trained_from])
    name = cache_name(cache.identity, weights)
    if name == own != cache.folder.name and cache.identity.content not in (
        identity.content for identity in trained_from
    ):
        name += f"-{content_digest(cache)[:6]}"  # the name may be another cache's
    return Run(name + suffix, cache, protocol, heads, weights, reads_pixels=False)


def _weights_label(identity: Identity, rivals: list[Identity]) -> str:
    """What the weights are called: with their digest, where another file has the same name."""
    label, digest = identity.weights, identity.weights_sha256
    if label in ("imagenet", "random") or all(digest == other.weights_sha256 for other in rivals):
        return label
    return f"{label}-{digest[:6]}"


def _pixels_run(config: ProbeConfig, cache: FeatureCache) -> Run:
    heads = tuple(head for head in _heads(config, cache) if head.levels == INPUT_LEVELS)
    protocol, suffix = _protocol(config, cache)
    identity = cache.identity
    return Run(
        PIXELS + recipe_suffix(identity) + suffix, cache, protocol, heads, "-", reads_pixels=True
    )


def _once_each(pixels: list[Run]) -> list[Run]:
    """The runs of the pixels without repetition: they are the same in every cache of a study."""
    kept: dict[str, Run] = {}
    for run in pixels:
        first = kept.setdefault(run.name, run)
        if _images(first.cache) != _images(run.cache):
            raise UserError(
                f"{first.cache.folder} and {run.cache.folder} hold different images, so "
                "their scores cannot stand in one table: keep them in separate --cache-dir"
            )
    return list(kept.values())


def _images(cache: FeatureCache) -> tuple[Any, ...]:
    return (*cache.records, cache.identity.features)


def _trained_from(config: ProbeConfig, run: str) -> list[Identity]:
    """The cache that a run of this name was trained from, if the results hold one."""
    settings = results.read_settings(config.results_dir / run)
    return [settings.cache] if settings else []


def _protocol(config: ProbeConfig, cache: FeatureCache) -> tuple[Protocol, str]:
    """The protocol to train with, and what it adds to the name of the run."""
    protocol = find_protocol(config.protocol or cache.identity.protocol)
    suffix = "" if protocol.name == cache.identity.protocol else f"-{protocol.name}"
    if config.solver == "exact":
        protocol, suffix = exactly_solved(protocol), f"{suffix}-exact"
    elif config.linear and protocol.training.sigmoid:
        protocol, suffix = without_sigmoid(protocol), f"{suffix}-linear"
    recipe = protocol.training
    recipe = replace(recipe, batch_size=config.batch_size or recipe.batch_size)
    if config.epochs or config.steps:
        recipe = replace(recipe, epochs=config.epochs, steps=config.steps)
    return replace(protocol, training=recipe), suffix


def _heads(config: ProbeConfig, cache: FeatureCache) -> list[HeadSpec]:
    """The heads asked for, of the backbone and of the pixels."""
    heads = _sweep(config, cache) if config.sweep else _grid(config, cache)
    linear = config.solver == "exact"
    kinds = config.probe or (DENSE,)
    asked = [head for head in heads if head.depth == 1 or not linear]
    return [replace(head, probe=kind) for kind in kinds for head in asked]


def _grid(config: ProbeConfig, cache: FeatureCache) -> list[HeadSpec]:
    return grid_heads(
        _levels(config, cache) or [_backbone_levels(cache)],
        config.kernel_size or (3,),
        config.depth or (1,),
        config.probe_padding or (0,),
        _patterns(config),
        range(config.seeds),
    )


def _sweep(config: ProbeConfig, cache: FeatureCache) -> list[HeadSpec]:
    """The heads of the tables that are among those the options leave."""
    identity, seeds = cache.identity, range(config.seeds)
    heads = [
        *table_heads(identity.backbone, identity.padding, _backbone_levels(cache), seeds),
        *table_heads(PIXELS, "-", INPUT_LEVELS, seeds),
    ]
    asked: list[tuple[str, Sequence[Any]]] = [
        ("levels", _levels(config, cache)),
        ("kernel_size", config.kernel_size),
        ("depth", config.depth),
        ("probe_padding", config.probe_padding),
        ("pattern", config.pattern),
    ]
    for name, values in asked:
        heads = [head for head in heads if not values or getattr(head, name) in values]
    own = [replace(head, pattern=name) for name in target_names(config) for head in heads]
    return list(dict.fromkeys([*([] if own and not config.pattern else heads), *own]))


def _patterns(config: ProbeConfig) -> tuple[str, ...]:
    asked = (*config.pattern, *target_names(config))
    return tuple(dict.fromkeys(asked)) or PATTERNS


def target_names(config: ProbeConfig) -> list[str]:
    """The names of the target maps of one's own."""
    return [text.partition("=")[0] for text in config.target]


def _levels(config: ProbeConfig, cache: FeatureCache) -> list[tuple[str, ...]]:
    return [_parse_levels(text, cache) for text in config.levels]


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
                f"{listed(level, tuple(cache.levels))}, joined by +, or all"
            )
    return tuple(level for level in cache.levels if level in asked)
