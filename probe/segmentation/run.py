"""The stage of the segmentation probe: from aligned caches of placed images to IoU."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from data.cache.command import call_into
from data.cache.reader import FeatureCache
from data.calls import keep_calls
from data.channels.spread import Places
from data.images.placed.source import PlacedName
from data.tools.device import find_device
from data.tools.errors import UserError
from data.tools.files import check_writable
from data.tools.terminal import say
from data.vocabulary import INPUT
from probe.batches import CELLS, FeatureBatches, plain_windows
from probe.caches import find_caches
from probe.exact.gram import Columns, Gram
from probe.exact.rows import RowTargets, solve_rows
from probe.results.placed import SEGMENTATION, replace_runs
from probe.segmentation.config import SegmentationConfig
from probe.segmentation.targets import TARGETS, Labels, Target, intersection_over_union

BATCH = 32  # images read at once
HELDOUT = 8  # every so many training patches one chooses the ridge
MEAN = "mean"  # in the column `class`: the mean over the classes
EVERY_CELL = ""  # in the column `ring`

Row = dict[str, Any]


def train_segmentation(config: SegmentationConfig) -> Path:
    """Solve for both targets from every level of every cache; the path of `segmentation.csv`.

    Raises `UserError` for a cache that does not hold placed images.
    """
    check_writable(config.results_dir, "--results-dir")
    device = find_device(config.device)
    rows: list[Row] = []
    extractions = []
    for cache in find_caches(config):
        probe = SegmentationProbe(cache, device)
        for level in _levels(cache, config):
            say(f"{cache.folder.name}: {level}")
            rows += probe.rows(level)
        extractions.append(call_into(cache.identity.command, cache.folder.parent.parent))
    if not rows:
        raise UserError(f"no cache in {config.cache_dir} has the --levels asked for")
    keep_calls(config.results_dir, [*extractions, config.call("segmentation")])
    return replace_runs(config.results_dir / SEGMENTATION, rows)


def plan_segmentation(config: SegmentationConfig) -> str:
    """The plan of `train_segmentation`: a line for every cache, all solved for anew.

    Nothing is written.
    """
    return "\n".join(
        f"{cache.folder}: {len(TARGETS)} targets from {', '.join(_levels(cache, config)) or '-'} "
        f"to solve for, into {config.results_dir / SEGMENTATION}"
        for cache in find_caches(config)
    )


def _levels(cache: FeatureCache, config: SegmentationConfig) -> list[str]:
    """The levels of a cache that are asked for."""
    return [
        level
        for level in cache.levels
        if level != INPUT and (not config.levels or level in config.levels)
    ]


@dataclass
class SegmentationProbe:
    """1x1 heads on one-hot targets, solved by ridge regression; the largest output counts."""

    cache: FeatureCache
    device: torch.device

    def __post_init__(self) -> None:
        images = [PlacedName.parse(record.name) for record in self.cache.records]
        self.images = {row: image for row, image in enumerate(images) if image is not None}
        placed = [image for image in images if image is not None]
        if not placed:
            raise UserError(
                f"{self.cache.folder} holds no placed images: run extract-features --placed grid "
                "--aligned --patches shapes, and give the folder that it names as --cache-dir"
            )
        self.grid = 1 + max(image.row for image in placed)
        self.shown = tuple(sorted({image.shown for image in placed}))

    def rows(self, level: str) -> Iterator[Row]:
        """IoU of every target, class and ring of a level on the test patches."""
        for kind in TARGETS:
            target = Target(kind, self.shown, self.grid)
            confusions = self._confusions(level, target)
            about = self._about(level, kind)
            for ring, confusion in {EVERY_CELL: sum(confusions.values()), **confusions}.items():
                values = intersection_over_union(np.asarray(confusion))
                mean = float(np.nanmean(values))
                for name, value in ((MEAN, mean), *zip(target.names, values, strict=True)):
                    yield {**about, "class": name, "ring": ring, "iou": float(value)}

    def _about(self, level: str, target: str) -> Row:
        identity, images = self.cache.identity, self.cache.folder.resolve().parent.name
        return {
            **{"run": f"{images}-{self.cache.folder.resolve().name}", "images": images},
            **{"backbone": identity.backbone, "weights": identity.weights},
            **{"backbone_padding": identity.padding, "levels": level, "target": target},
            "n_test": len({self.images[row].patch for row in self._part("test").tolist()}),
        }

    def _part(self, images: str) -> NDArray[np.int64]:
        return np.array([row for row in self.cache.rows(images).tolist() if row in self.images])

    def _confusions(self, level: str, target: Target) -> dict[str, Labels]:
        """True and predicted labels of the test images, (K, K), by the ring of their cell."""
        columns = Columns(1, 0, None, self.device)
        gram = Gram({level: self.cache.levels[level]}, columns)
        classes = len(target.names)
        sums = []
        for rows, part in zip(self._split(), (gram.fit, gram.heldout), strict=True):
            wanted = RowTargets.zeros(gram, classes)
            for read, features in self._batches(level, rows):
                gram.add(features, part)
                labels = self._labels(target, read)
                onehot = functional.one_hot(labels, classes).movedim(3, 1)  # (B, K, 28, 28)
                wanted.add(gram, features, onehot)
            sums.append(wanted)
        gram.mirror()
        found = solve_rows(gram, *sums)
        weights, bias = found.kernels.flatten(1), found.biases
        rings = Places([divmod(cell, self.grid) for cell in range(self.grid**2)], self.grid).rings
        confusions: dict[str, Labels] = defaultdict(lambda: np.zeros((classes, classes), np.int64))
        for read, features in self._batches(level, self._part("test")):
            outputs = weights @ features.double() + bias[:, None]
            predicted = outputs.argmax(0).view(-1, CELLS).cpu().numpy()
            true = self._labels(target, read).flatten(1).cpu().numpy()
            for row, seen, right in zip(read.tolist(), predicted, true, strict=True):
                image = self.images[row]
                ring = str(rings[image.row * self.grid + image.column])
                pairs = np.bincount(right * classes + seen, minlength=classes**2)
                confusions[ring] += pairs.reshape(classes, classes)
        return dict(sorted(confusions.items()))

    def _split(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows to solve on and to choose the ridge on: whole patches."""
        rows = self._part("train")
        patches = np.array([self.images[row].patch for row in rows.tolist()])
        held = np.isin(patches, np.unique(patches)[HELDOUT - 1 :: HELDOUT])
        return rows[~held], rows[held]

    def _batches(
        self, level: str, rows: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        batches = FeatureBatches(self.cache, (level,), torch.float32, self.device, "none")
        return batches.batches(plain_windows(rows, batches.image_bytes), BATCH)

    def _labels(self, target: Target, rows: NDArray[np.int64]) -> Tensor:
        """(B, 28, 28) int64."""
        labels = np.stack([target.labels(self.images[row]) for row in rows.tolist()])
        return torch.from_numpy(labels).to(self.device)
