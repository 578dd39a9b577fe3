"""Targeting: the decoder without the foremost channels, as it is and trained again.

Islam et al. (ICCV 2021) set the foremost channels of DeepLabv3 to zero before its decoder. A
decoder that loses channels it relies on fails whether or not they alone said the place: only
training it again tells, and only random channels of the same number say how much is much.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.channels.draws import random_order
from data.tools.device import find_device
from data.tools.errors import UserError
from data.tools.progress import progress
from data.tools.settings import spelled
from extract.tasks import scores as results
from extract.tasks.maps.metrics import SegmentationScores
from extract.tasks.maps.pairs.loader import Batches
from extract.tasks.maps.pairs.sets import PairSet
from extract.tasks.maps.predictor import map_loss, to_maps
from extract.tasks.maps.task import check_sets, learning_rate, split
from extract.tasks.targeting.bank import RANDOM, TOP, DecoderBank, Removal
from extract.tasks.targeting.config import REMOVE, TargetingConfig
from extract.tasks.targeting.ranking import Ranking, rank_channels
from extract.tasks.targeting.segmenters import Material, load_material
from extract.tasks.task import Task

KEPT, RETRAINED = "kept", "retrained"
RANKS_CSV = "ranks.csv"
COLUMNS = [
    *("task", "network", "padding", "level", "channels", "rank", "fill", "removed", "which"),
    *("draw", "decoder", "test_set", "region", "metric", "value", "seed", "n_train", "n_test"),
    *("epochs", "best_epoch"),
]

Maps = NDArray[Any]  # (S, S)
REGIONS: dict[str, Callable[[Maps], Maps]] = {
    "whole": lambda maps: maps,
    "left half": lambda maps: maps[:, : maps.shape[1] // 2],
    "right half": lambda maps: maps[:, maps.shape[1] // 2 :],
    "upper half": lambda maps: maps[: maps.shape[0] // 2],
    "lower half": lambda maps: maps[maps.shape[0] // 2 :],
}


class TargetingTask(Task):
    """The training of a decoder for each removal, from one pass of the backbone over a batch.

    Raises `UserError` for a network, images or channels that cannot be had.
    """

    network: DecoderBank

    def __init__(self, config: TargetingConfig) -> None:
        self.config = config
        self.epochs = config.epochs
        self.device = find_device(config.device)
        self.material = load_material(config)
        self.pairs, self.tests = self.material.pairs, self.material.tests
        self.training, self.held_out = split(len(self.pairs))
        check_sets(self.pairs, self.tests, self.held_out)
        self.level = _find_level(config, self.material)
        segmenter: Any = self.material.segmenter
        segmenter.to(self.device)
        _check_classes(self.material)
        self.counts = _counts(config, self.material, self.level)
        self.network = DecoderBank(segmenter, self.level, 1 + len(self.counts) * (1 + config.draws))
        self.network.to(self.device)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=config.learning_rate)
        self.settings = _settings(config, self.material, self.level, self.counts)

    def prepare(self) -> None:
        """Rank the channels, by a pass over the training images."""
        batches = self._batches(self.pairs, self.training)
        shown = progress(
            batches, total=len(batches), description="ranking channels", unit="batches"
        )
        segmenter, config = self.material.segmenter, self.config
        self.ranking = rank_channels(segmenter, self.level, config.rank, shown)
        self.removals = _removals(config, self.counts, self.ranking)
        means = torch.from_numpy(self.ranking.means)
        self.network.remove(
            self.removals, means if config.fill == "mean" else torch.zeros_like(means)
        )

    def batches(self, epoch: int) -> Batches:
        """Images (B, 3, S, S) float32 and masks (B, S, S) int64, shuffled."""
        order = np.random.default_rng([self.config.seed, epoch]).permutation(self.training)
        return self._batches(self.pairs, order)

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """The sum of the decoders' cross-entropies, so that each has the gradient of its own."""
        images, masks = batch
        levels = self.network.levels(images)
        size = masks.shape[-2:]
        losses = [
            map_loss(self.network.retrained(index, levels, size), masks)
            for index in range(len(self.removals))
        ]
        return torch.stack(losses).sum()

    def rate(self, step: int, steps: int) -> float:
        """The rate of Adam at a step."""
        return learning_rate(step, steps, self.config.learning_rate)

    def validate(self) -> dict[str, float]:
        """The mean over the decoders of the held-out images' mIoU."""
        found = self._scores(self.pairs, self.held_out, ("whole",), (RETRAINED,))
        return {"miou_percent": float(np.mean([s["miou_percent"] for s in found.values()]))}

    def merit(self, scores: Mapping[str, float]) -> float:
        """That mean."""
        return scores["miou_percent"]

    def score(self, best_epoch: int, folder: Path) -> pd.DataFrame:
        """A row per removal, decoder, test set, region and metric; the ranking goes to `folder`."""
        ranks = pd.DataFrame({"channel": self.ranking.order})
        ranks["score"] = self.ranking.scores[self.ranking.order]
        results.write_table(folder / RANKS_CSV, ranks)
        copied = ("task", "network", "padding", "level", "rank", "fill", "epochs", "seed")
        shared = {name: self.settings[name] for name in copied}
        shared |= {"channels": len(self.ranking.order), "n_train": len(self.training)}
        rows = []
        for test in self.tests:
            found = self._scores(test, np.arange(len(test)), tuple(REGIONS), (KEPT, RETRAINED))
            for (index, decoder, region), scores in found.items():
                removal = self.removals[index]
                where = {"removed": len(removal.channels), "which": removal.which}
                where |= {"draw": removal.draw, "decoder": decoder, "region": region}
                where |= {"test_set": test.name, "n_test": len(test), "best_epoch": best_epoch}
                for metric, value in scores.items():
                    rows.append({**shared, **where, "metric": metric, "value": value})
        return pd.DataFrame(rows, columns=COLUMNS)

    @torch.no_grad()
    def _scores(
        self,
        pairs: PairSet,
        order: NDArray[np.int64],
        regions: Sequence[str],
        decoders: Sequence[str],
    ) -> dict[tuple[int, str, str], dict[str, float]]:
        """Scores by removal, decoder and region."""
        keys = [
            (index, decoder, region)
            for index in range(len(self.removals))
            for decoder in decoders
            for region in regions
        ]
        scores = {key: SegmentationScores(pairs.classes) for key in keys}
        reads = {KEPT: self.network.kept, RETRAINED: self.network.retrained}
        for images, masks in self._batches(pairs, order):
            levels, truths = self.network.levels(images), masks.cpu().numpy().astype(np.uint8)
            for index in range(len(self.removals)):
                for decoder in decoders:
                    found = to_maps(reads[decoder](index, levels, masks.shape[-2:]))
                    for region in regions:
                        cut, score = REGIONS[region], scores[index, decoder, region]
                        for one, truth in zip(found, truths, strict=True):
                            score.add(cut(one), cut(truth))
        return {key: score.scores() for key, score in scores.items()}

    def _batches(self, pairs: PairSet, order: NDArray[np.int64]) -> Batches:
        return Batches(
            pairs,
            order,
            size=self.material.image_size,
            batch_size=self.config.batch_size,
            num_workers=self.config.num_workers,
            device=self.device,
        )


def _find_level(config: TargetingConfig, material: Material) -> int:
    names = material.level_names
    if config.level is None:
        return len(names) - 1
    if config.level not in names:
        raise UserError(
            f"{spelled('level')} {config.level}: the decoder reads {', '.join(names)}: give one"
        )
    return names.index(config.level)


def _check_classes(material: Material) -> None:
    """Refuse masks of other classes than the network's (`UserError`)."""
    for pairs in (material.pairs, *material.tests):
        if len(pairs.classes) != material.outputs:
            raise UserError(
                f"{pairs.name} has {len(pairs.classes)} classes and the network "
                f"{material.outputs}: give the data it was trained on"
            )


def _counts(config: TargetingConfig, material: Material, level: int) -> tuple[int, ...]:
    """How many channels to remove; `UserError` for a number that leaves none."""
    channels = material.channels[level]
    for count in config.remove:
        if count >= channels:
            raise UserError(
                f"{spelled('remove')} {count}: the level has {channels} channels: remove fewer"
            )
    return config.remove or tuple(count for count in REMOVE if count < channels)


def _removals(config: TargetingConfig, counts: Sequence[int], ranking: Ranking) -> list[Removal]:
    """Nothing, and for each number the foremost channels and the random ones."""
    removals = [Removal(TOP, 0, ranking.order[:0])]
    for count in counts:
        removals.append(Removal(TOP, 0, ranking.order[:count]))
        removals += [
            Removal(RANDOM, draw, random_order(len(ranking.order), config.seed, draw)[:count])
            for draw in range(config.draws)
        ]
    return removals


def _settings(
    config: TargetingConfig, material: Material, level: int, counts: Sequence[int]
) -> dict[str, Any]:
    """Everything the decoders' weights depend on, of plain types."""
    copied = ("task", "rank", "fill", "draws", "epochs", "batch_size", "learning_rate", "seed")
    return {
        **{name: getattr(config, name) for name in copied},
        **material.settings,
        "level": material.level_names[level],
        "removed": [0, *counts],
        "data": material.pairs.name,
        "data_sha256": material.pairs.sha256,
        "images": len(material.pairs),
    }
