"""The extraction stage: images through a frozen backbone into a feature cache."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data.cache.shards import SHARD_IMAGES, compression_filters
from data.images.source import ImageSource
from data.images.study import ImageSet, open_images
from data.tools.device import find_device
from data.tools.errors import UserError
from data.tools.locks import CacheLocks
from data.tools.parallel import run_tasks
from data.tools.progress import progress
from data.tools.terminal import say
from extract.backbones.backbone import Backbone
from extract.config import ExtractConfig
from extract.folder import check_space, complete, delete_cache, settle
from extract.identity import describe_extraction
from extract.job import Job, count_cores, load_configured, run_task
from extract.labels import free_label
from extract.levels import LevelExtractor
from extract.pipeline import ShardReport
from extract.precision import resolve_precision

TASK_SHARDS = 4  # at most, so that a worker that dies takes little work with it


def extract_features(
    config: ExtractConfig,
    backbone: Backbone | None = None,
    images: Mapping[str, Any] | ImageSource | None = None,
) -> Path:
    """Extract every level of every image; the folder of the cache, which `FeatureCache` opens.

    Resumes where an earlier run stopped, repairs missing shards, and does nothing on a complete
    cache. With `num_shards` the cache may still wait for other jobs: the last one completes it.

    Args:
        config: what to extract.
        backbone: a network of your own (`extract.backbones.backbone.wrap_module`), instead of
            the one that `config` names.
        images: image set -> folder, list of files, Dataset, sequence or dict of images in
            memory, or an `ImageSource` (see `data.images.study.open_images`), instead of
            `config.train` and `config.test`.

    Raises `UserError` when something cannot be had, does not fit the disk, or differs from what
    the folder's cache was made from.
    """
    job = _prepare(config, backbone, images)
    with CacheLocks(job.folder) as locks:
        with locks.whole():
            if config.overwrite:
                delete_cache(job, locks)
            if settle(job):
                say(f"{job.folder} is complete: nothing to do")
                return job.folder
        missing = job.missing(job.own_shards)
        check_space(job, job.missing(job.shards))
        report = _extract(job, missing, locks, backbone) if missing else ShardReport()
        with locks.whole():
            complete(job, report.sha256)
    return job.folder


def _prepare(
    config: ExtractConfig,
    backbone: Backbone | None,
    images: Mapping[str, Any] | ImageSource | None,
) -> Job:
    device = find_device(config.device)
    precision = resolve_precision(config.precision, device)
    compression_filters(config.compression)  # refuses while nothing is done yet
    backbone = backbone or load_configured(config)
    backbone.weights = free_label(config, backbone)
    found = open_images(
        images or {"train": config.train, "test": config.test},
        limit=config.limit,
        seed=config.seed,
        num_workers=count_cores() if config.num_workers is None else config.num_workers,
        image_size=config.image_size,
    )
    _report_images(found, config.strict)
    manifest = describe_extraction(
        config,
        backbone,
        found,
        LevelExtractor(backbone, config.features).channels(config.image_size),
        device=device,
        precision=precision,
    )
    return Job(config, device, backbone, found, manifest, _make_folder(config, backbone))


def _make_folder(config: ExtractConfig, backbone: Backbone) -> Path:
    folder = config.folder(backbone.name, backbone.weights)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot create {folder} ({error}): give another --cache-dir") from error
    return folder


def _report_images(images: ImageSet, strict: bool) -> None:
    for note in images.notes:
        say(f"note: {note}")
    for bad in images.bad:
        say(f"bad image: {bad.images} {bad.name}: {bad.reason}")
    if images.bad and strict:
        raise UserError(
            f"{len(images.bad)} images cannot be used and --strict is on: mend or remove them, "
            "or leave --strict out"
        )


def _extract(
    job: Job, shards: Sequence[int], locks: CacheLocks, backbone: Backbone | None
) -> ShardReport:
    started = time.monotonic()
    if job.config.backend == "loky" and job.config.jobs == 1:
        with locks.shards(shards):
            report = job.compute(shards)
    else:
        report = _distribute(job, shards, backbone)
    seconds = time.monotonic() - started
    megabytes = job.bytes_of(report.sha256) / 1e6
    say(
        f"{report.images} images in {seconds:.1f} s: {report.images / seconds:.1f} images/s, "
        f"{megabytes / seconds:.1f} MB/s; waited {report.waited_for_images:.1f} s for images and "
        f"{report.waited_for_disk:.1f} s for the disk"
    )
    return report


def _distribute(job: Job, shards: Sequence[int], backbone: Backbone | None) -> ShardReport:
    """Extract in other processes, here or on a cluster. Each claims the shards it works on."""
    config = job.config
    size = max(1, min(TASK_SHARDS, len(shards) // (2 * config.jobs)))
    parts = [shards[start : start + size] for start in range(0, len(shards), size)]
    tasks = [(config, backbone, job.images, job.folder.resolve(), part) for part in parts]
    total = ShardReport()
    reports = run_tasks(
        run_task, tasks, jobs=config.jobs, backend=config.backend, scheduler=config.scheduler
    )
    images = len(job.manifest.records)
    for report in progress(
        reports,
        total=min(len(shards) * SHARD_IMAGES, images),
        description="extracting",
        unit="images",
        size=lambda report: report.images,
    ):
        total.add(report)
    return total
