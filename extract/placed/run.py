"""The extraction of placed studies: every patch at every cell, through a frozen backbone once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL
import torch
import torchvision

from data.cache.identity import Calibration
from data.cache.members import CALIBRATION
from data.cache.placed_identity import PlacedIdentity
from data.cache.pooled import (
    IDENTITY,
    POOLED,
    PooledCache,
    block_exists,
    block_path,
    join_blocks,
    read_identity,
    remove_blocks,
    settle_identity,
    write_arrays,
)
from data.images.patches import load_patches
from data.images.placed import PlacedImages
from data.images.study import find_images
from data.tools.device import find_device
from data.tools.errors import UserError
from data.tools.files import write_bytes
from data.tools.locks import locked
from data.tools.progress import progress
from data.vocabulary import INPUT
from extract.backbones.audit import place_changes
from extract.backbones.backbone import Backbone
from extract.calibration import load_statistics, measure_statistics
from extract.job import CPU_BATCH, load_configured, resolve_workers
from extract.placed.config import PlacedConfig
from extract.placed.pooling import PooledExtractor
from extract.precision import DTYPES, resolve_precision

LOCK = ".lock"
BLOCK_IMAGES = 256  # about; a block holds whole patches


def extract_placed(config: PlacedConfig, backbone: Backbone | None = None) -> list[Path]:
    """Pool every placed image, for every layout and canvas; the folders of the caches.

    Goes on where an earlier run stopped and does nothing on complete caches. A backbone with
    untrained BatchNorms is calibrated as that of a feature cache: on whole images, so that it is
    the same network in every layout.

    Raises `UserError` for patches, networks or sizes that cannot be had, and where a folder's
    cache was made from something else.
    """
    folders = []
    for layout in config.layouts:
        sized = replace(config, image_size=layout.image_size)
        patches = load_patches(
            config.patches,
            config.patch_limit,
            layout.patch_size,
            seed=config.seed,
            root=config.patch_root,
        )
        network = backbone or load_configured(sized)
        for canvas in config.canvas or ("black",):
            images = PlacedImages(patches, layout, canvas, config.seed)
            folder = config.placed_folder(network.name, network.weights, layout, canvas)
            _extract(sized, network, images, folder)
            folders.append(folder)
    return folders


def _extract(config: PlacedConfig, backbone: Backbone, images: PlacedImages, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot create {folder} ({error}): give another --cache-dir") from error
    with locked(folder / LOCK):
        if config.overwrite:
            for name in (POOLED, IDENTITY, CALIBRATION):  # what says it is complete first
                (folder / name).unlink(missing_ok=True)
            remove_blocks(folder)
        calibration = _calibrate(config, backbone, folder)
        identity = _describe(config, backbone, images, calibration)
        settle_identity(folder, identity)
        if (folder / POOLED).exists() and not PooledCache(folder).damage():
            return
        blocks = _blocks(images)
        for number, block in enumerate(blocks):
            if not block_exists(folder, number):
                write_arrays(block_path(folder, number), _pooled(config, backbone, images, block))
        join_blocks(folder, range(len(blocks)))


def _calibrate(config: PlacedConfig, backbone: Backbone, folder: Path) -> Calibration | None:
    before, path = read_identity(folder), folder / CALIBRATION
    if before is not None and before.calibration is not None and path.exists():
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() == before.calibration.sha256:
            load_statistics(content, backbone)
            return before.calibration
    if not backbone.has_untrained_batch_norm:
        return None
    workers = resolve_workers(config)
    images = find_images(config.train, None, limit=64, seed=config.seed, num_workers=workers)
    calibration, content = measure_statistics(
        backbone,
        images,
        normalization=backbone.normalization(config.features.normalization),
        num_workers=workers,
    )
    write_bytes(path, content)
    return calibration


def _describe(
    config: PlacedConfig, backbone: Backbone, images: PlacedImages, calibration: Calibration | None
) -> PlacedIdentity:
    layout, patches = images.layout, images.patches
    device = find_device(config.device)
    normalization = backbone.normalization(config.features.normalization)
    return PlacedIdentity(
        backbone=backbone.name,
        weights=backbone.weights,
        weights_sha256=backbone.weights_sha256,
        weights_source=backbone.weights_source,
        weights_provenance=backbone.weights_provenance,
        padding=backbone.padding,
        padding_changes=backbone.padding_changes,
        normalization=normalization,
        taps=tuple(backbone.taps.values()),
        levels=_channels(_extractor(config, backbone), images),
        precision=_precision(config),
        device=device.type,
        seed=config.seed,
        calibration=calibration,
        kind=layout.kind,
        grid=layout.grid,
        border=layout.border,
        patch_size=layout.patch_size,
        cells=tuple(layout.cells),
        canvas=images.canvas,
        patches=patches.name,
        patches_sha256=patches.sha256,
        n_patches=len(patches.pixels),
        class_names=patches.class_names,
        place_changes=place_changes(
            backbone, normalization=normalization, image_size=layout.image_size
        ),
        versions={
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "pillow": PIL.__version__,
            "numpy": np.__version__,
        },
    )


def _channels(extractor: PooledExtractor, images: PlacedImages) -> dict[str, int]:
    pooled = extractor(torch.from_numpy(images.load(0))[None])
    levels = (INPUT, *extractor.backbone.taps)
    return {level: pooled[f"{level}/mean"].shape[1] for level in levels}


def _precision(config: PlacedConfig) -> str:
    if config.precision == "auto":  # the last bits of a pooled vector are what is asked about
        return "fp32"
    return resolve_precision(config.precision, find_device(config.device))


def _extractor(config: PlacedConfig, backbone: Backbone) -> PooledExtractor:
    return PooledExtractor(
        backbone,
        backbone.normalization(config.features.normalization),
        device=find_device(config.device),
        dtype=DTYPES[_precision(config)],
    )


def _blocks(images: PlacedImages) -> list[range]:
    """The images of each block: whole patches, about `BLOCK_IMAGES` images."""
    cells = len(images.layout.cells)
    step = max(1, BLOCK_IMAGES // cells) * cells
    return [range(start, min(start + step, len(images))) for start in range(0, len(images), step)]


def _pooled(
    config: PlacedConfig, backbone: Backbone, images: PlacedImages, block: range
) -> dict[str, np.ndarray]:
    """The arrays of one block, see `data.cache.pooled`."""
    extractor = _extractor(config, backbone)
    batches = list(_batches(block, config.batch_size or CPU_BATCH))
    parts = [
        extractor(torch.from_numpy(np.stack([images.load(index) for index in batch])))
        for batch in progress(
            batches,
            total=len(batches),
            description=f"placed images {block.start} to {block.stop} of {len(images)}",
            unit="batches",
        )
    ]
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    infinite = [name for name, values in arrays.items() if not np.isfinite(values).all()]
    if infinite:
        raise UserError(f"{', '.join(infinite)} are not finite: check the weights of the backbone")
    patch, cell = np.divmod(np.array(block), len(images.layout.cells))
    arrays["patch"], arrays["cell"] = patch.astype("<i4"), cell.astype("<i2")
    arrays["class"] = images.patches.classes[patch].astype("<i2")
    arrays["split"] = images.split[patch]
    return arrays


def _batches(block: range, size: int) -> Iterator[range]:
    for start in range(block.start, block.stop, size):
        yield range(start, min(start + size, block.stop))
