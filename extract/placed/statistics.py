"""The BatchNorm statistics of an untrained network, measured once for several pooled caches."""

from __future__ import annotations

from functools import cached_property

from data.cache.files.manifest import describe_images
from data.cache.identity import Calibration
from data.images.image_set import ImageSet, find_images
from data.images.placed.placement import PlacedImages
from data.images.placed.source import TrainingImages
from extract.backbones.backbone import Backbone
from extract.calibration import IMAGES, load_statistics, measure_statistics
from extract.placed.config import PlacedConfig
from extract.shards.job import resolve_workers
from extract.shards.prepare import IMAGES_SEED


class Statistics:
    """Those of `backbone` on the first whole training images, or the first `placed` ones."""

    def __init__(
        self, config: PlacedConfig, backbone: Backbone, placed: PlacedImages | None = None
    ) -> None:
        self._config = config
        self._backbone = backbone
        self._placed = placed

    @property
    def images_sha256(self) -> str:
        """Over the images that they are measured on; "" where none are needed."""
        if not self._backbone.has_untrained_batch_norm:
            return ""
        used = [record for record in self._images.records if record.images == "train"]
        return describe_images(used).sha256

    def measure(self) -> tuple[Calibration, bytes]:
        """Calibrate the backbone: what was done, and its file."""
        calibration, content = self._measured
        load_statistics(content, self._backbone)  # which may have had those of a cache since
        return calibration, content

    @cached_property
    def _images(self) -> ImageSet:
        if self._placed is not None:
            source = TrainingImages(self._placed, IMAGES)
            return ImageSet({"train": source}, self._placed.layout.image_size)
        return find_images(
            self._config.train,
            None,
            limit=IMAGES,
            seed=IMAGES_SEED,
            num_workers=resolve_workers(self._config),
        )

    @cached_property
    def _measured(self) -> tuple[Calibration, bytes]:
        return measure_statistics(
            self._backbone,
            self._images,
            normalization=self._backbone.normalization(self._config.features.normalization),
            num_workers=resolve_workers(self._config),
        )
