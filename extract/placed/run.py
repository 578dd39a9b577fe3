"""The extraction of placed studies: every patch at every cell, through a frozen backbone once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data.cache.pooled.identity import PlacedIdentity
from data.cache.pooled.writer import PooledWriter
from data.images.placed.patches import Patches, find_patches, load_patches
from data.images.placed.placement import Layout, PlacedImages
from data.images.placed.source import PlacedSource
from data.tools.device import find_device
from data.tools.errors import UserError
from data.tools.files import check_writable
from data.tools.progress import progress
from data.tools.terminal import say
from data.vocabulary import IMAGE_SIZE
from extract.backbones.audit import audited_changes
from extract.backbones.backbone import Backbone
from extract.calibration import load_statistics
from extract.placed.config import PLACED, PlacedConfig
from extract.placed.identity import describe_placed
from extract.placed.pooling import PooledExtractor
from extract.placed.statistics import Statistics
from extract.precision import DTYPES, resolve_precision
from extract.run import extract_features
from extract.shards.job import CPU_BATCH, GPU_BATCH, load_configured
from extract.weights_label import free_label

BLOCK_IMAGES = 256  # about; a block holds whole patches


def extract_placed(
    config: PlacedConfig, backbone: Backbone | None = None, patches: Any = None
) -> list[Path]:
    """Pool every placed image, for every layout and canvas; the folders of the caches.

    With `aligned`, keep the aligned maps of feature caches instead.

    Goes on where an earlier run stopped and does nothing on complete caches. A backbone with
    untrained BatchNorms is calibrated as that of a feature cache: on whole images, so that it is
    the same network in every layout; or, as in corners by default, on the placed images themselves
    (never on mirrored ones: an image and its mirror image go through the same network).

    Args:
        config: what to extract.
        backbone: a network of your own (`extract.backbones.backbone.wrap_module`), instead of
            the one that `config` names.
        patches: `Patches`, or images of your own (see `data.images.placed.patches.find_patches`),
            instead of those that `config` names.

    Raises `UserError` for patches, networks or sizes that cannot be had, and where a folder's
    cache was made from something else or is damaged.
    """
    check_writable(config.cache_dir, "--cache-dir")
    return [
        extract_features(job.aligned, backbone, PlacedSource(job.images), command=job.command)
        if config.aligned
        else job.run()
        for job in placed_jobs(config, backbone, patches)
    ]


def placed_jobs(
    config: PlacedConfig, backbone: Backbone | None = None, patches: Any = None
) -> Iterator[PlacedJob]:
    """The caches that `extract_placed` makes of the same arguments; nothing is written."""
    command = "" if backbone or patches else config.command
    for layout in config.layouts:
        sized = replace(config, image_size=layout.image_size)
        network = backbone or load_configured(sized)
        network.weights = free_label(sized, network)
        if sized.calibration == PLACED and not network.has_untrained_batch_norm:
            raise UserError(
                f"--calibration {PLACED}: {network.name} with weights {network.weights} has no "
                "untrained BatchNorms; leave it out"
            )
        found = _patches(sized, layout, patches)
        whole_images = Statistics(sized, network)
        for canvas in sized.canvas or ("black",):
            images = PlacedImages(found, layout, canvas, sized.seed, sized.mirrored)
            statistics = whole_images
            if sized.calibrated_on == PLACED:
                statistics = Statistics(sized, network, replace(images, mirrored=False))
            yield PlacedJob(sized, network, images, statistics, command)


def _patches(config: PlacedConfig, layout: Layout, given: Any) -> Patches:
    count, size = config.patch_limit, layout.source_size
    if isinstance(given, Patches):
        return given
    if given is not None:
        found = find_patches(given, count, size)
    else:
        found = load_patches(config.patches, count, size, seed=config.seed, root=config.patch_root)
    for bad in found.bad:
        say(f"bad image: {bad.images} {bad.name}: {bad.reason}")
    if found.bad and config.strict:
        raise UserError(
            f"{len(found.bad)} patches cannot be used and --strict is on: mend or remove them, or "
            "leave --strict out"
        )
    return found


@dataclass(frozen=True)
class PlacedJob:
    """One pooled cache: what it is made of, and making it."""

    config: PlacedConfig
    backbone: Backbone
    images: PlacedImages
    statistics: Statistics
    command: str  # that asks for it; "" where objects of Python's were handed over

    @property
    def aligned(self) -> PlacedConfig:
        """The extraction of aligned maps of the same images."""
        return replace(self.config, cache_dir=self.config.aligned_folder(self.images))

    @property
    def identity(self) -> PlacedIdentity:
        """What the cache is made from, the calibration aside."""
        described = describe_placed(
            self.backbone,
            self.images,
            normalization=self._normalization,
            levels=self._extractor.channels(self.images.layout.image_size),
            precision=self._precision,
            device=self._device.type,
            calibration_images=self.statistics.images_sha256,
            calibrated_on=(
                self.config.calibrated_on if self.backbone.has_untrained_batch_norm else ""
            ),
        )
        return replace(described, command=self.command)

    def run(self) -> Path:
        """Make what the cache lacks; its folder."""
        identity = self.identity
        folder = self.config.placed_folder(identity, self.images.layout)
        with PooledWriter(folder, identity) as writer:
            if self.config.overwrite:
                writer.discard()
            if writer.is_complete():
                say(f"{folder} is complete: nothing to do")
                return folder
            untrained = self.backbone.has_untrained_batch_norm
            content = writer.settle(
                self.statistics.measure if untrained else None, lambda: self._audited(identity)
            )
            if content is not None:
                load_statistics(content, self.backbone)
            blocks = self._blocks()
            for number in writer.missing(range(len(blocks))):
                writer.write(number, self._pooled(blocks[number]))
            writer.complete(range(len(blocks)))
        return folder

    @cached_property
    def _device(self) -> torch.device:
        return find_device(self.config.device)

    @cached_property
    def _precision(self) -> str:
        if self.config.precision == "auto":  # the last bits of a vector are what is asked about
            return "fp32"
        return resolve_precision(self.config.precision, self._device)

    @property
    def _normalization(self) -> str:
        return self.backbone.normalization(self.config.features.normalization)

    @property
    def _extractor(self) -> PooledExtractor:
        dtype = DTYPES[self._precision]
        return PooledExtractor(self.backbone, self._normalization, device=self._device, dtype=dtype)

    def _audited(self, identity: PlacedIdentity) -> PlacedIdentity:
        """With what is measured of the network, which is calibrated by now."""
        changes = audited_changes(
            self.backbone,
            normalization=self._normalization,
            image_size=self.images.layout.image_size,
        )
        return replace(identity, place_changes=changes)

    def _blocks(self) -> list[range]:
        """The images of each block: whole patches, about `BLOCK_IMAGES` images."""
        cells, count = len(self.images.layout.cells), len(self.images)
        step = max(1, BLOCK_IMAGES // cells) * cells
        return [range(start, min(start + step, count)) for start in range(0, count, step)]

    def _batches(self, block: range) -> Iterator[range]:
        size = self.config.batch_size or self._usual_batch
        for start in range(block.start, block.stop, size):
            yield range(start, min(start + size, block.stop))

    @property
    def _usual_batch(self) -> int:
        """As many pixels as a batch of a feature cache has."""
        usual = GPU_BATCH if self._device.type == "cuda" else CPU_BATCH
        return max(1, usual * IMAGE_SIZE**2 // self.images.layout.image_size**2)

    def _pooled(self, block: range) -> dict[str, NDArray[Any]]:
        """The arrays of one block, see `data.cache.pooled`."""
        extractor, images = self._extractor, self.images
        batches = list(self._batches(block))
        parts = [
            extractor(torch.from_numpy(np.stack([images.load(index) for index in batch])))
            for batch in progress(
                batches,
                total=len(batches),
                description=f"placed images {block.start} to {block.stop} of {len(images)}",
                unit="batches",
            )
        ]
        arrays: dict[str, NDArray[Any]] = {
            name: np.concatenate([part[name] for part in parts]) for name in parts[0]
        }
        infinite = [name for name, values in arrays.items() if not np.isfinite(values).all()]
        if infinite:
            raise UserError(
                f"{', '.join(infinite)} are not finite: check the weights of the backbone"
            )
        patch, cell = np.divmod(np.array(block), len(images.layout.cells))
        arrays["patch"], arrays["cell"] = patch.astype("<i4"), cell.astype("<i2")
        arrays["class"] = images.patches.classes[patch].astype("<i2")
        arrays["split"] = images.split[patch]
        return arrays
