"""Red-Green's training, by the recipe of the authors' `red_and_green.py`.

Adadelta (rate 1, rho 0.9, eps 1e-6, weight decay 5e-5), batches of 200 images in a fixed order, at
most 50 epochs; the epoch of the lowest validation loss is kept, and nine without a lower one end
the training. What it validates on, and tests on, are the first images it trains on.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from extract.tasks.red_green.config import BATCH, RedGreenConfig
from extract.tasks.red_green.images import FRESH_SEED, PUBLISHED_SEED, red_green_images
from extract.tasks.red_green.network import build_network
from extract.tasks.task import Task

TRAINED, TESTED = 2000, 1000  # images
COLUMNS = [
    *("task", "padding", "test_set", "position", "metric", "value", "seed", "n_train", "n_test"),
    *("epochs", "best_epoch"),
]

Batch = tuple[Tensor, Tensor]  # images (B, 3, 32, 32) float32 and labels (B,) int64


class RedGreenTask(Task):
    """The training of one network."""

    patience = 9
    threads = 1  # the same weights however many networks are trained at a time

    def __init__(self, config: RedGreenConfig) -> None:
        self.config = config
        self.epochs = config.epochs
        self.network = build_network(config.padding, config.seed)
        self.optimizer = torch.optim.Adadelta(
            self.network.parameters(), lr=1.0, rho=0.9, eps=1e-6, weight_decay=5e-5
        )
        self.trained = min(config.limit or TRAINED, TRAINED)
        self.tested = min(self.trained // 2, TESTED)
        images = red_green_images(self.trained, PUBLISHED_SEED)
        self.training = _batches(images.similar, images.labels)
        self.validation = _batches(images.similar[: self.tested], images.labels)
        self.settings = {
            "task": config.task,
            "padding": config.padding,
            "images": self.trained,
            "epochs": config.epochs,
            "seed": config.seed,
        }

    def batches(self, epoch: int) -> list[Batch]:
        """The training images, always in one order."""
        return self.training

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy."""
        images, labels = batch
        return functional.cross_entropy(self.network(images), labels)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Loss and accuracy on the first images of the training set."""
        losses = [float(self.loss(batch)) for batch in self.validation]
        return {"loss": float(np.mean(losses)), "accuracy_percent": self._accuracy(self.validation)}

    def merit(self, scores: Mapping[str, float]) -> float:
        """The lower the loss the better."""
        return -scores["loss"]

    def score(self, best_epoch: int, folder: Path) -> pd.DataFrame:
        """Accuracy on the published test images and on fresh ones, where they were and moved."""
        rows: list[dict[str, Any]] = []
        for test_set, seed in (("published", PUBLISHED_SEED), ("fresh", FRESH_SEED)):
            images = red_green_images(self.tested, seed)
            for position in ("similar", "dissimilar"):
                batches = _batches(getattr(images, position), images.labels)
                rows.append(
                    {"test_set": test_set, "position": position, "value": self._accuracy(batches)}
                )
        table = pd.DataFrame(rows).assign(
            task=self.config.task,
            padding=self.config.padding,
            metric="accuracy_percent",
            seed=self.config.seed,
            n_train=self.trained,
            n_test=self.tested,
            epochs=self.epochs,
            best_epoch=best_epoch,
        )
        return table[COLUMNS]

    @torch.no_grad()
    def _accuracy(self, batches: list[Batch]) -> float:
        right = [self.network(images).argmax(1) == labels for images, labels in batches]
        return 100 * float(torch.cat(right).float().mean())


def _batches(images: NDArray[np.float32], labels: NDArray[np.int64]) -> list[Batch]:
    """Images in their order, 200 at a time, with the labels that go with them."""
    pairs = (torch.from_numpy(images), torch.from_numpy(labels[: len(images)]))
    return list(zip(*(values.split(BATCH) for values in pairs), strict=True))
