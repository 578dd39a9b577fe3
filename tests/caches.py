"""Small feature caches for tests: position leaks into f1 and f2 by design."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.cache.files.manifest import Manifest, describe_images
from data.cache.identity import Identity
from data.cache.index import write_index
from data.cache.reader import FeatureCache
from data.cache.shards import ShardWriter, shard_count, shard_rows
from data.images.source import BadImage, ImageRecord
from data.protocols import PROTOCOLS

CHANNELS = {"input": 3, "f1": 6, "f2": 5, "f3": 4, "f4": 4, "f5": 4}
COUNTS = {"train": 24, "test": 6, "black": 1, "white": 1, "noise": 2}


def features(count: int, channels: int, seed: int) -> NDArray[np.float16]:
    generator = np.random.default_rng(seed)
    maps = generator.standard_normal((count, channels, 28, 28)) * 0.3
    ramp = np.linspace(-1, 1, 28)
    maps[:, 0] += ramp
    maps[:, 1] += ramp[:, None]
    maps[:, 2] += np.exp(-(ramp**2 + ramp[:, None] ** 2))
    return np.maximum(maps, 0).astype(np.float16)


def make_cache(
    parent: Path,
    *,
    backbone: str = "vgg16",
    padding: str = "zeros",
    protocol: str = "paper",
    images_seed: int = 0,
    train: int = COUNTS["train"],
    name: str | None = None,  # of the folder
    **identity_changes: Any,
) -> FeatureCache:
    counts = {**COUNTS, "train": train}
    records = [
        ImageRecord(f"{images}-{index}", images, f"{images_seed}{images}{index}")
        for images, count in counts.items()
        for index in range(count)
    ]
    identity = Identity(
        backbone=backbone,
        weights="random",
        weights_sha256="0" * 64,
        padding=padding,
        protocol=protocol,
        features=PROTOCOLS[protocol].features,
        precision="fp32",
        sources={"train": "made up", "test": "made up"},
    )
    identity = replace(identity, **identity_changes)
    arrays = {
        level: features(len(records), channels, seed)
        for seed, (level, channels) in enumerate(CHANNELS.items())
    }
    arrays["input"] = features(len(records), 3, 100)[:, [0, 0, 0]] * np.float16(0.1)
    suffix = "" if protocol == "paper" else f"-{protocol}"
    name = name or f"{backbone}-{identity.weights}-{padding}{suffix}"
    return write_cache(parent / name, identity, records, arrays)


def write_cache(
    folder: Path,
    identity: Identity,
    records: Sequence[ImageRecord],
    arrays: Mapping[str, NDArray[np.float16]],
    bad: Sequence[BadImage] = (),
) -> FeatureCache:
    """A complete cache in `folder` (created) from arrays in memory.

    `arrays`: level -> (len(records), C, 28, 28) float16. The levels and images of the identity are
    filled in.
    """
    levels = {level: array.shape[1] for level, array in arrays.items()}
    identity = replace(identity, levels=levels, images=describe_images(records))
    manifest = Manifest(identity, tuple(records), tuple(bad))
    folder.mkdir(parents=True, exist_ok=True)
    manifest.write(folder)
    known = {}
    for shard in range(shard_count(len(records))):
        rows = shard_rows(shard, len(records))
        writer = ShardWriter(folder, shard, manifest)
        part = {level: array[rows.start : rows.stop] for level, array in arrays.items()}
        try:
            writer.write(part, dict.fromkeys(arrays, 0.0))
            known[shard] = writer.finish()
        except BaseException:
            writer.discard()
            raise
    write_index(folder, manifest, known)
    return FeatureCache(folder)
