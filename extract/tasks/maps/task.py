"""Saliency and segmentation: VGG16 with a decoder, trained on images and their masks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.tools.device import find_device, has_fast_bfloat16
from data.tools.errors import UserError
from data.tools.progress import progress
from data.tools.terminal import say
from extract.tasks import scores as results
from extract.tasks.maps.config import HELD_OUT, MapConfig
from extract.tasks.maps.crops import crop_shifts, shift_slopes
from extract.tasks.maps.network import BACKBONE, build_network
from extract.tasks.maps.pairs.loader import Batches
from extract.tasks.maps.pairs.mirrored import mirrored
from extract.tasks.maps.pairs.sets import PairSet, test_pairs, training_pairs
from extract.tasks.maps.predictor import Predictor, map_loss
from extract.tasks.task import Task

MAIN_SCORE = {"saliency": "f_measure", "segmentation": "miou_percent"}  # chooses the best epoch
SCHEMA = 1
WARM_UP = 0.05  # of all steps: without BatchNorm the first full-size steps can kill a VGG
SHIFTS, CROPS = "shifts.csv", "crops.npz"  # how the predictions follow a moving crop
COLUMNS = [
    *("task", "model", "padding", "train_set", "test_set", "metric", "value", "seed", "levels"),
    *("image_size", "normalization", "mirror", "n_train", "n_test", "epochs", "best_epoch"),
    "precision",
]


class MapTask(Task):
    """The training of VGG16 for maps of the images' size.

    Raises `UserError` for unsuitable options or data.
    """

    def __init__(self, config: MapConfig) -> None:
        device = find_device(config.device)
        fast = config.precision == "auto" and has_fast_bfloat16(device)
        dtype = torch.bfloat16 if fast or config.precision == "bf16" else torch.float32
        self.config = config
        self.epochs = config.epochs
        self.pairs, self.tests = training_pairs(config), test_pairs(config)
        self.training, self.held_out = split(len(self.pairs))
        check_sets(self.pairs, self.tests, self.held_out)
        network = build_network(config, len(self.pairs.classes) or 1)
        self.settings = {**_settings(config, self.pairs, dtype), **network.started_from}
        self.network = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate, fused=True)
        self.predictor = Predictor(network, device, dtype)

    def batches(self, epoch: int) -> Batches:
        """Images (B, 3, S, S) float32 and masks (B, S, S) int64, shuffled."""
        seed = self.config.seed
        order = np.random.default_rng([seed, epoch]).permutation(self.training)
        pairs = mirrored(self.pairs, seed, epoch) if self.config.mirror else self.pairs
        return self._batches(pairs, order)

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Cross-entropy of a batch of `batches`."""
        images, masks = batch
        return map_loss(self.predictor.predict(images), masks)

    def rate(self, step: int, steps: int) -> float:
        """The rate of Adam at a step."""
        return learning_rate(step, steps, self.config.learning_rate)

    def validate(self) -> dict[str, float]:
        """Scores of the held-out images."""
        batches = self._batches(self.pairs, self.held_out)
        return self.predictor.score(batches, self.pairs.classes)

    def merit(self, scores: Mapping[str, float]) -> float:
        """The F-measure of saliency, the mIoU of segmentation."""
        merit = scores[MAIN_SCORE[self.config.task]]
        if math.isnan(merit):
            raise UserError(
                f"no pixel of the held-out masks of {self.pairs.name} counts at --image-size "
                f"{self.config.image_size}: give a larger one, or other masks"
            )
        return merit

    def score(self, best_epoch: int, folder: Path) -> pd.DataFrame:
        """A row per test set and metric; saliency follows moving crops as well."""
        rows = []
        for test in self.tests:
            scores = self._score(test)
            if self.config.task == "saliency":
                scores |= self._follow_crops(test, folder)
            rows += [self._row(best_epoch, test, *score) for score in scores.items()]
        return pd.DataFrame(rows, columns=COLUMNS)

    def _score(self, test: PairSet) -> dict[str, float]:
        shown = progress(
            self._batches(test, np.arange(len(test))),
            total=len(test),
            description=f"{self.config.run}: scoring on {test.name}",
            unit="images",
            size=lambda batch: len(batch[0]),
        )
        scores = self.predictor.score(shown, test.classes)
        del scores["loss"]
        return scores

    def _follow_crops(self, test: PairSet, folder: Path) -> dict[str, float]:
        table, arrays = crop_shifts(self.predictor, test, self.config.image_size)
        results.write_table(folder / f"{test.name}-{SHIFTS}", table)
        results.write_arrays(folder / f"{test.name}-{CROPS}", arrays)
        return shift_slopes(table)

    def _row(self, best_epoch: int, test: PairSet, metric: str, value: float) -> dict[str, Any]:
        settings = self.settings
        copied = ("task", "padding", "seed", "levels", "image_size", "normalization", "mirror")
        return {
            **{key: settings[key] for key in (*copied, "epochs", "precision")},
            "model": settings["backbone"],
            "train_set": settings["data"],
            "test_set": test.name,
            "metric": metric,
            "value": value,
            "n_train": len(self.training),
            "n_test": len(test),
            "best_epoch": best_epoch,
        }

    def _batches(self, pairs: PairSet, order: Sequence[int] | NDArray[np.int64]) -> Batches:
        return Batches(
            pairs,
            order,
            size=self.config.image_size,
            batch_size=self.config.batch_size,
            num_workers=self.config.num_workers,
            device=self.predictor.device,
        )


def split(count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices to train on and to validate on: every tenth is held out."""
    held_out = np.arange(count) % HELD_OUT == HELD_OUT - 1
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def learning_rate(step: int, steps: int, largest: float) -> float:
    """The rate of step `step` of `steps`: a linear rise, then half a cosine down to 0."""
    warm = max(1, round(WARM_UP * steps))
    if step < warm:
        return largest * (step + 1) / warm
    return largest * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def check_sets(pairs: PairSet, tests: Sequence[PairSet], held_out: NDArray[np.int64]) -> None:
    """Refuse sets that cannot be scored on (`UserError`)."""
    for test in tests:
        if len(test.classes) != len(pairs.classes):
            raise UserError(
                f"{test.name} has {len(test.classes)} classes and {pairs.name}, to train on, has "
                f"{len(pairs.classes)}: give a test set of the same classes"
            )
    if not len(held_out):
        raise UserError(f"{pairs.name} has {len(pairs)} images: {HELD_OUT} or more are needed")
    if not tests:
        say(f"no --test: only the held-out images of {pairs.name} are scored, in {results.EPOCHS}")


def _settings(config: MapConfig, pairs: PairSet, dtype: torch.dtype) -> dict[str, Any]:
    """Everything the weights depend on, of plain types."""
    return {
        "schema": SCHEMA,
        "backbone": BACKBONE,
        "task": config.task,
        "data": pairs.name,
        "data_sha256": pairs.sha256,
        "images": len(pairs),
        "padding": config.padding,
        "levels": config.levels,
        "image_size": config.image_size,
        "normalization": config.normalization,
        "mirror": config.mirror,
        "epochs": config.epochs,
        "batch_size": config.batch_size,
        "learning_rate": config.learning_rate,
        "precision": str(dtype).removeprefix("torch."),
        "seed": config.seed,
    }
