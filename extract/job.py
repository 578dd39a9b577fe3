"""One extraction: what it is made of, and computing some of its shards."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from data.cache.identity import Calibration
from data.cache.index import shard_fault
from data.cache.manifest import Manifest, read_manifest
from data.cache.shards import shard_count, shard_rows
from data.images.study import ImageSet
from data.tools.device import find_device
from data.tools.errors import UserError
from data.tools.locks import CacheLocks
from data.vocabulary import GRID
from extract.backbones.backbone import Backbone, load_backbone
from extract.backbones.weights import WeightsRequest
from extract.calibration import read_calibration, write_calibration
from extract.compute import LevelComputer
from extract.config import ExtractConfig
from extract.pipeline import ShardReport, extract_shards

CPU_BATCH, GPU_BATCH = 16, 64
MOST_WORKERS = 16
_FILE_OVERHEAD = 2**15  # bytes of a shard besides its features, at most


@dataclass
class Job:
    """What to extract, with what, and where to."""

    config: ExtractConfig
    device: torch.device
    backbone: Backbone
    images: ImageSet
    manifest: Manifest
    folder: Path

    @property
    def shards(self) -> range:
        """All shards of the cache."""
        return range(shard_count(len(self.manifest.records)))

    @property
    def own_shards(self) -> range:
        """Those of `--shard-index`."""
        return self.shards[self.config.shard_index :: self.config.num_shards]

    def missing(self, shards: Iterable[int]) -> list[int]:
        """Those of `shards` that are not there, or not right."""
        return [s for s in shards if shard_fault(self.folder, s, self.manifest) is not None]

    def bytes_of(self, shards: Iterable[int]) -> int:
        """What the shards take on disk, uncompressed."""
        image = sum(self.manifest.levels.values()) * GRID * GRID * 2
        counts = [len(shard_rows(shard, len(self.manifest.records))) for shard in shards]
        return sum(counts) * image + len(counts) * _FILE_OVERHEAD

    def calibrate(self) -> None:
        """Give an untrained network the BatchNorm statistics this cache is made with."""
        expected = self.manifest.identity.calibration
        if expected is None or read_calibration(self.folder, self.backbone, expected):
            return
        if self.measure_statistics() != expected:
            raise UserError(
                f"the BatchNorm statistics of {self.folder} are lost and come out differently on "
                "this machine: give --overwrite to make the cache again"
            )

    def measure_statistics(self) -> Calibration:
        """Calibrate on the first training images; what the manifest says of it."""
        return write_calibration(
            self.folder,
            self.backbone,
            self.images,
            normalization=self.backbone.normalization(self.config.features.normalization),
            num_workers=resolve_workers(self.config),
        )

    def compute(self, shards: Sequence[int], *, show_progress: bool = True) -> ShardReport:
        """Extract `shards` in this process."""
        computer = LevelComputer(
            self.backbone,
            self.config.features,
            device=self.device,
            precision=self.manifest.identity.precision,
            batch_size=self.batch_size,
        )
        return extract_shards(
            shards,
            self.images,
            self.manifest,
            self.folder,
            computer,
            batch_size=self.batch_size,
            num_workers=resolve_workers(self.config),
            show_progress=show_progress,
        )

    @property
    def batch_size(self) -> int:
        """Images per forward pass."""
        return self.config.batch_size or (GPU_BATCH if self.device.type == "cuda" else CPU_BATCH)


def load_configured(config: ExtractConfig) -> Backbone:
    """The backbone that the configuration names."""
    return load_backbone(
        config.backbone,
        weights=WeightsRequest(
            config.weights,
            key=config.weights_key,
            by_order=config.match == "order",
            label=config.weights_name,
        ),
        padding=config.padding,
        taps=config.tap_names,
        seed=config.seed,
        image_size=config.image_size,
    )


_load_once = lru_cache(1)(load_configured)  # a process does many tasks of one job


def resolve_workers(config: ExtractConfig) -> int:
    """How many threads decode images."""
    if config.num_workers is not None:
        return config.num_workers
    return max(1, min(MOST_WORKERS, count_cores() // 2))


def count_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_task(
    config: ExtractConfig,
    backbone: Backbone | None,
    images: ImageSet,
    folder: Path,
    shards: Sequence[int],
) -> ShardReport:
    """Extract some shards of a cache whose manifest is written, in a process of its own."""
    manifest = read_manifest(folder)
    job = Job(
        config, find_device(config.device), backbone or _load_once(config), images, manifest, folder
    )
    if job.backbone.weights_sha256 != manifest.identity.weights_sha256:
        raise UserError(f"weights {config.weights!r} are others here than where the run began")
    job.calibrate()
    with CacheLocks(folder) as locks, locks.shards(shards):
        return job.compute(job.missing(shards), show_progress=False)
