"""What an extraction needs before its work: the network, the images, and where the cache goes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import joblib
import torch

from data.cache.files.manifest import Manifest, describe_images
from data.cache.files.members import INDEX, shard_name
from data.cache.identity import Identity
from data.cache.names import cache_name
from data.cache.shards import compression_filters, rows_of, shard_count
from data.cache.writer import CacheWriter
from data.images.image_set import ImageSet, open_images
from data.images.source import ImageSource
from data.tools.device import find_device
from data.tools.errors import UserError
from data.tools.files import check_writable
from data.tools.terminal import say
from extract.backbones.backbone import Backbone
from extract.calibration import IMAGES as CALIBRATION_IMAGES
from extract.config import ExtractConfig
from extract.engine import check_engine
from extract.identity import describe_extraction
from extract.levels import LevelExtractor
from extract.precision import resolve_precision
from extract.shards.job import Job, load_configured
from extract.weights_label import free_label

SCANS = ".scans"  # in the folder of the caches: what was found in folders of images
# Of the samples and the noise: --seed draws the network alone, so that those of several seeds see
# the same images.
IMAGES_SEED = 0


def prepare(
    config: ExtractConfig,
    backbone: Backbone | None,
    images: Mapping[str, Any] | ImageSource | None,
    *,
    command: str = "",
    dry: bool = False,
) -> Job:
    """Everything that can be refused, the quick things first.

    Where the images are known from earlier runs, the files of this job's own missing shards alone
    are looked at; `look_at` and `look_at_all` look at others. A `dry` one writes nothing: not even
    what it finds in folders of images is kept, nor is tried whether the cache can be written.
    """
    command = command or ("" if backbone or images else config.command)
    device, backbone, identity = _describe(config, backbone)
    folder = config.cache_dir / cache_name(identity)
    if not dry:
        _check_folder(config, folder)
    scans = None if dry else config.cache_dir / SCANS
    found = _open(config, images, scans, look_at_all=(folder / INDEX).exists())
    if not found.unchanged(_rows_needed(config, folder, len(found))):
        found = _open(config, images, scans, look_at_all=True)
    _report_images(found, config.strict)
    described = describe_images(found.records)
    identity = replace(identity, images=described, sources=found.places, command=command)
    manifest = Manifest(identity, found.records, found.bad)
    return Job(config, device, backbone, found, CacheWriter(folder, manifest))


def look_at(job: Job, rows: Iterable[int], images: Mapping[str, Any] | ImageSource | None) -> Job:
    """The job, once the files of these rows have been asked whether they have changed.

    Raises `UserError`, with the differences, when the images are no longer those of the cache.
    """
    return job if job.images.unchanged(rows) else look_at_all(job, images)


def look_at_all(job: Job, images: Mapping[str, Any] | ImageSource | None) -> Job:
    """The job, once every folder has been searched and every file asked; raises as `look_at`.

    Also where a disk gives folders no time of change, and so additions did not show before.
    """
    if not job.images.is_remembered:
        return job
    found = _open(job.config, images, job.config.cache_dir / SCANS, look_at_all=True)
    job.cache.check_images(found.records)
    return replace(job, images=found)


def _open(
    config: ExtractConfig,
    images: Mapping[str, Any] | ImageSource | None,
    scans: Path | None,
    *,
    look_at_all: bool,
) -> ImageSet:
    """The images that the configuration names, or `images`."""
    found = open_images(
        images or {"train": config.train, "test": config.test},
        limit=config.limit,
        seed=IMAGES_SEED,
        num_workers=joblib.cpu_count() if config.num_workers is None else config.num_workers,
        image_size=config.image_size,
        scans=scans,
        look_at_all=look_at_all,
    )
    return replace(found, score_transposed=config.score_transposed)


def _rows_needed(config: ExtractConfig, folder: Path, images: int) -> Iterable[int]:
    """The rows whose files this job will read."""
    own = range(shard_count(images))[config.shard_index :: config.num_shards]
    missing = (shard for shard in own if not (folder / shard_name(shard)).exists())
    calibrating = range(min(CALIBRATION_IMAGES, images))
    return chain(calibrating, rows_of(missing, images))


def check_backbone(config: ExtractConfig) -> None:
    """Raise `UserError` where there is no such network, padding, device or folder to write to."""
    _, _, identity = _describe(config, None)
    _check_folder(config, config.cache_dir / cache_name(identity))


def _describe(
    config: ExtractConfig, backbone: Backbone | None
) -> tuple[torch.device, Backbone, Identity]:
    """Where to compute, with what network, and what it makes, the images and calibration aside."""
    device = find_device(config.device)
    precision = resolve_precision(config.precision, device)
    check_engine(config.engine, device)
    compression_filters(config.compression)  # refuses while nothing is done yet
    backbone = backbone or load_configured(config)
    backbone.weights = free_label(config, backbone)
    channels = LevelExtractor(backbone, config.features).channels(config.image_size)
    identity = describe_extraction(config, backbone, channels, device=device, precision=precision)
    return device, backbone, identity


def _check_folder(config: ExtractConfig, folder: Path) -> None:
    """Raise `UserError` unless the cache can be written; one that may be complete need not be."""
    if config.overwrite or not (folder / INDEX).exists():
        check_writable(folder if folder.exists() else config.cache_dir, "--cache-dir")


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
