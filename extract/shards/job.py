"""One extraction: what it is made of, and computing some of its shards."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import joblib
import torch

from data.cache.files.manifest import Manifest
from data.cache.identity import Calibration
from data.cache.writer import CacheWriter
from data.images.image_set import ImageSet
from data.tools.device import find_device
from data.tools.errors import UserError
from extract.backbones.audit import audited_changes
from extract.backbones.backbone import Backbone, load_backbone
from extract.backbones.weights import WeightsRequest
from extract.calibration import load_statistics, measure_statistics
from extract.compute import LevelComputer
from extract.config import ExtractConfig
from extract.shards.pipeline import ShardReport, extract_shards

CPU_BATCH, GPU_BATCH = 16, 64
MOST_WORKERS = 16


@dataclass(frozen=True)
class Job:
    """What to extract, with what, and where to."""

    config: ExtractConfig
    device: torch.device
    backbone: Backbone
    images: ImageSet
    cache: CacheWriter

    def settle(self) -> None:
        """Agree with the unfinished cache in the folder, or begin one; alone."""
        settle = self.cache.replace if self.config.overwrite else self.cache.settle
        settle(self.measure if self.backbone.has_untrained_batch_norm else None, self.audit)

    def calibrate(self) -> None:
        """Give an untrained network the BatchNorm statistics this cache is made with."""
        expected = self.cache.manifest.identity.calibration
        if expected is None:
            return
        content = self.cache.calibration()
        if content is not None and hashlib.sha256(content).hexdigest() == expected.sha256:
            load_statistics(content, self.backbone)
            return
        found, content = self.measure()
        if found != expected:
            raise UserError(
                f"the BatchNorm statistics of {self.cache.folder} are lost and come out "
                "differently on this machine: give --overwrite to make the cache again"
            )
        self.cache.keep_calibration(content)

    def measure(self) -> tuple[Calibration, bytes]:
        """Calibrate on the first training images: what was done, and its file."""
        return measure_statistics(
            self.backbone,
            self.images,
            normalization=self.backbone.normalization(self.config.features.normalization),
            num_workers=resolve_workers(self.config),
        )

    def audit(self) -> dict[str, float]:
        """How much a pooled channel changes over the places of a patch, for every level."""
        return audited_changes(
            self.backbone,
            normalization=self.backbone.normalization(self.config.features.normalization),
            image_size=self.config.image_size,
        )

    def compute(self, shards: Sequence[int], *, show_progress: bool = True) -> ShardReport:
        """Extract `shards` in this process."""
        computer = LevelComputer(
            self.backbone,
            self.config.features,
            device=self.device,
            precision=self.cache.manifest.identity.precision,
            engine=self.cache.manifest.identity.engine,
            batch_size=self.batch_size,
        )
        return extract_shards(
            shards,
            self.images,
            self.cache,
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
# A cluster's worker may have several threads, and they would share this network and its hooks.
_one_task_at_a_time = threading.Lock()


def resolve_workers(config: ExtractConfig) -> int:
    """How many threads decode images."""
    if config.num_workers is not None:
        return config.num_workers
    return max(1, min(MOST_WORKERS, joblib.cpu_count() // 2))


def run_task(
    config: ExtractConfig,
    backbone: Backbone | None,
    images: ImageSet,
    folder: Path,
    manifest: Manifest,
    shards: Sequence[int],
) -> ShardReport:
    """Extract some shards of the cache of `manifest`, in a process of its own.

    Raises `UserError` when the folder has become another cache's since the run began.
    """
    with _one_task_at_a_time, CacheWriter(folder, manifest) as cache, cache.shards(shards):
        device = find_device(config.device)
        job = Job(config, device, backbone or _load_once(config), images, cache)
        if job.backbone.weights_sha256 != manifest.identity.weights_sha256:
            raise UserError(f"weights {config.weights!r} are others here than where the run began")
        job.calibrate()
        return job.compute(cache.missing(shards), show_progress=False)
