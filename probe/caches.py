"""The caches that a command trains from: whole, asked for, and each only once."""

from __future__ import annotations

import hashlib
from pathlib import Path

from data.cache.files.members import MANIFEST
from data.cache.identity import canonical_json
from data.cache.names import cache_name
from data.cache.reader import FeatureCache
from data.images.source import shared_images
from data.protocols import find_protocol
from data.tools.errors import UserError
from data.tools.settings import listed
from data.tools.terminal import say
from probe.config import CacheConfig


def find_caches(config: CacheConfig, protocol: str | None = None) -> list[FeatureCache]:
    """The caches to read, those that fit `protocol`, in the order of their folders' names.

    What cannot be read, and copies of other caches, are left out with a line on stderr. Raises
    `UserError` when there is no cache that can be read, or none of a backbone or protocol that was
    asked for.
    """
    folders = sorted(path.parent for path in config.cache_dir.glob(f"*/{MANIFEST}"))
    if (config.cache_dir / MANIFEST).exists():  # a cache itself
        folders = [config.cache_dir]
    if not folders:
        raise UserError(f"no feature cache in {config.cache_dir}: run extract-features first")
    caches, faults = _open(folders)
    if not caches:
        raise UserError(faults[0])
    caches = _asked_for(caches, config, faults)
    for fault in faults:
        say(f"left out: {fault}")
    if protocol:
        taps = find_protocol(protocol).features.taps
        caches = [cache for cache in caches if cache.identity.features.taps == taps]
        if not caches:
            raise UserError(
                f"no cache in {config.cache_dir} fits --protocol {protocol}: run "
                f"extract-features --protocol {taps} first"
            )
    caches = _once_each(caches)
    for note in dict.fromkeys(line for c in caches for line in shared_images(c.records)):
        say(f"note: {note}")
    return caches


def holds_caches(cache_dir: Path) -> bool:
    """Whether there is a feature cache in a folder of caches, or it is one."""
    return (cache_dir / MANIFEST).exists() or any(cache_dir.glob(f"*/{MANIFEST}"))


def content_digest(cache: FeatureCache) -> str:
    """SHA-256 over what the cache was made from, wherever it lies."""
    return hashlib.sha256(canonical_json(cache.identity.content).encode()).hexdigest()


def _open(folders: list[Path]) -> tuple[list[FeatureCache], list[str]]:
    """The caches that can be read, and why the others cannot."""
    caches, faults = [], []
    for folder in folders:
        try:
            caches.append(FeatureCache(folder))
        except (UserError, OSError) as error:
            faults.append(str(error))
    return caches, faults


def _asked_for(
    caches: list[FeatureCache], config: CacheConfig, faults: list[str]
) -> list[FeatureCache]:
    """The caches of the backbones and paddings asked for; every name must have one."""
    for option in ("backbone", "padding"):
        found = sorted({getattr(cache.identity, option) for cache in caches})
        for name in getattr(config, option):
            if name not in found:
                others = f" ({'; '.join(faults)})" if faults else ""
                raise UserError(
                    f"no cache of {option} {name!r} in {config.cache_dir}: give "
                    f"{listed(name, found)}{others}, or run "
                    f"extract-features --{option} {name} first"
                )
    kept = [c for c in caches if config.wants(c.identity.backbone, c.identity.padding)]
    if not kept:
        raise UserError(
            f"no cache in {config.cache_dir} is of backbone {' or '.join(config.backbone)} with "
            f"padding {' or '.join(config.padding)}: run extract-features with both first"
        )
    return kept


def _once_each(caches: list[FeatureCache]) -> list[FeatureCache]:
    """Of caches with the same content, the one that bears its own name, or else the first."""
    kept: dict[str, FeatureCache] = {}
    for cache in sorted(caches, key=lambda cache: cache.folder.name != cache_name(cache.identity)):
        first = kept.setdefault(content_digest(cache), cache)
        if first is not cache:
            say(f"left out: {cache.folder} is a copy of {first.folder}")
    return [cache for cache in caches if cache in kept.values()]
