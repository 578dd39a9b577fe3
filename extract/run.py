"""The extraction stage: images through a frozen backbone into a feature cache."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data.cache.shards import SHARD_IMAGES, rows_of
from data.images.source import ImageSource
from data.tools.errors import UserError
from data.tools.parallel import run_tasks
from data.tools.progress import progress
from data.tools.terminal import say
from extract.backbones.backbone import Backbone
from extract.config import ExtractConfig
from extract.shards.job import Job, run_task
from extract.shards.pipeline import ShardReport
from extract.shards.prepare import look_at, look_at_all, prepare

TASK_SHARDS = 4  # at most, so that a worker that dies takes little work with it
MOST_ROUNDS = 3  # of mending shards: what is damaged again and again is the disk


def extract_features(
    config: ExtractConfig,
    backbone: Backbone | None = None,
    images: Mapping[str, Any] | ImageSource | None = None,
    *,
    command: str = "",
) -> Path:
    """Extract every level of every image; the folder of the cache, which `FeatureCache` opens.

    Resumes where an earlier run stopped, repairs missing and damaged shards, and does nothing on
    a complete cache. With `num_shards` the cache may still wait for other jobs: the last one
    completes it.

    Args:
        config: what to extract.
        backbone: a network of your own (`extract.backbones.backbone.wrap_module`), instead of
            the one that `config` names.
        images: image set -> folder, list of files, Dataset, sequence or dict of images in
            memory, or an `ImageSource` (see `data.images.image_set.open_images`), instead of
            `config.train` and `config.test`.
        command: the call that asks for it, where it is not that of `config`.

    Raises `UserError` when something cannot be had, does not fit the disk, or differs from what
    the folder's cache was made from.
    """
    job = prepare(config, backbone, images, command=command)
    folder = job.cache.folder
    if not config.overwrite and job.cache.is_complete():
        say(f"{folder} is complete: nothing to do")
        return folder
    with job.cache as cache:
        with cache.alone():
            job.settle()
        try:
            _fill(job, backbone, images)
        except UserError:
            with cache.alone():
                cache.abandon()
            raise
    return folder


def _fill(
    job: Job, backbone: Backbone | None, images: Mapping[str, Any] | ImageSource | None
) -> None:
    """Compute this job's shards that are missing, and complete the cache if that is all of them."""
    cache, report = job.cache, ShardReport()
    own = cache.all_shards[job.config.shard_index :: job.config.num_shards]
    for _ in range(MOST_ROUNDS):
        missing = cache.missing(own)
        if missing:
            # The images of shards without a file were looked at before.
            damaged = sorted(set(missing) - set(cache.absent()))
            job = look_at(job, rows_of(damaged, len(job.images)), images)
            report.add(_extract(job, missing, backbone))
        if not cache.absent():  # whoever completes the cache looks at every image
            job = look_at_all(job, images)
        with cache.alone():
            if cache.complete(report.sha256, own):
                return
    raise UserError(
        f"shards of {cache.folder} are missing or damaged as soon as they are written: check its "
        "disk, and that no other program writes there"
    )


def _extract(job: Job, shards: Sequence[int], backbone: Backbone | None) -> ShardReport:
    started = time.monotonic()
    if job.config.backend == "loky" and job.config.jobs == 1:
        with job.cache.shards(shards):
            job.calibrate()
            report = job.compute(shards)
    else:
        report = _distribute(job, shards, backbone)
    seconds = time.monotonic() - started
    megabytes = job.cache.bytes_of(report.sha256) / 1e6
    say(
        f"{report.images} images in {seconds:.1f} s: {report.images / seconds:.1f} images/s, "
        f"{megabytes / seconds:.1f} MB/s; waited {report.waited_for_images:.1f} s for images and "
        f"{report.waited_for_disk:.1f} s for the disk"
    )
    return report


def _distribute(job: Job, shards: Sequence[int], backbone: Backbone | None) -> ShardReport:
    """Extract in other processes, here or on a cluster. Each claims the shards it works on."""
    config, cache = job.config, job.cache
    size = max(1, min(TASK_SHARDS, len(shards) // (2 * config.jobs)))
    parts = [shards[start : start + size] for start in range(0, len(shards), size)]
    # A worker is told what cache it fills: the folder may be another's by the time it starts.
    made = (config, backbone, job.images, cache.folder.resolve(), cache.manifest)
    tasks = [(*made, part) for part in parts]
    total = ShardReport()
    reports = run_tasks(
        run_task, tasks, jobs=config.jobs, backend=config.backend, scheduler=config.scheduler
    )
    for report in progress(
        reports,
        total=min(len(shards) * SHARD_IMAGES, len(cache.manifest.records)),
        description="extracting",
        unit="images",
        size=lambda report: report.images,
    ):
        total.add(report)
    return total
