"""The training of networks with global pooling, by the recipe of the authors' PermuteNet code.

Adam (betas 0.5 and 0.999), every patch at one random cell in every epoch. They keep the epoch that
is best on the test images; here held-out patches choose it. SGD is that of Chaman and Dokmanic
(2021) for CIFAR: they train for 250 epochs in batches of 256.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from data.tools.device import find_device
from extract.tasks.pooled.config import (
    CLASSIFICATION,
    CROP_SHARE,
    LOCATION,
    PERMUTE,
    SGD,
    PooledConfig,
)
from extract.tasks.pooled.consistency import agreement
from extract.tasks.pooled.images import Part, laid, load_parts, moved
from extract.tasks.pooled.network import PooledNetwork, build_network
from extract.tasks.pooled.position import odd_percent
from extract.tasks.task import Task

CROP_PAD = 4  # zeros on every side of an image before AugShift's crops
SHIFTS = {"crop": CROP_SHARE, "zero": 3, "roll": 3}  # pixels, but of "crop"
PASSES = 5  # of consistency, over the test images, each with fresh shifts
ORDERS = 9  # test passes at least where channels are shuffled
_EPOCH, _VALIDATION, _TEST, _SHIFTED = range(4)  # keys of what is drawn
COLUMNS = [
    *("task", "network", "head", "downsample", "padding", "patches", "patch_size", "patch_limit"),
    *("grid", "classes", "mirror", "augshift", "optimizer", "learning_rate", "batch_size"),
    *("metric", "value", "chance", "seed", "n_train", "n_test", "epochs", "best_epoch"),
]


@dataclass(frozen=True)
class Batch:
    """Images (B, 3, S, S), their labels (B,), and an order (C,) of the channels, if any."""

    images: Tensor
    labels: Tensor
    order: Tensor | None


class PooledTask(Task):
    """The training of one network. Raises `UserError` for unsuitable options or data."""

    network: PooledNetwork

    def __init__(self, config: PooledConfig) -> None:
        self.config, self.epochs = config, config.epochs
        self.device = find_device(config.device)
        self.grid = config.cells_a_side
        parts = load_parts(config)
        self.training, self.held_out, self.test = (
            part.to(self.device) for part in (parts.train, parts.held_out, parts.test)
        )
        self.outputs = self.grid**2 if config.task == LOCATION else parts.classes
        self.network = build_network(config, self.outputs).to(self.device)
        self.weight = config.augshift[0] if config.augshift else None  # AugShift's lambda
        self.optimizer = _optimizer(config, self.network)
        self.settings = {
            **{name: getattr(config, name) for name in ("task", "head", "patches", "patch_size")},
            **{name: getattr(config, name) for name in ("network", "downsample", "padding")},
            **{name: getattr(config, name) for name in ("mirror", "epochs", "batch_size")},
            "augshift": self.weight,
            "optimizer": config.optimizer,
            "learning_rate": config.rate,
            "grid": self.grid,
            "outputs": self.outputs,
            "patches_sha256": parts.sha256,
            "n_train": len(parts.train),
            "seed": config.seed,
        }
        side = config.smallest_side
        self.network.eval()(self.test.patches.new_zeros(1, 3, side, side))  # it fits

    def batches(self, epoch: int) -> _Drawn:
        """Every training patch at a random cell, shuffled; two crops of each under AugShift."""
        return _Drawn(self, np.random.default_rng([self.config.seed, _EPOCH, epoch]))

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy; under AugShift of both crops, and lambda times their vectors' distance.

        The formula is that of figure 2's caption: CE(y1) + CE(y2) + lambda MSE(z1, z2).
        """
        self.network.train()
        logits, vectors = self.network(batch.images, batch.order)
        if self.weight is None:
            return functional.cross_entropy(logits, batch.labels)
        (first, second), (near, far) = logits.chunk(2), vectors.chunk(2)
        classified = functional.cross_entropy(first, batch.labels)
        classified = classified + functional.cross_entropy(second, batch.labels)
        return classified + self.weight * functional.mse_loss(near, far)

    def rate(self, step: int, steps: int) -> float | None:
        """Of SGD, a tenth after 2/5 and after 4/5 of the steps."""
        if self.config.optimizer != SGD:
            return None
        return self.config.rate / 10.0 ** (5 * step // (2 * steps))

    def validate(self) -> dict[str, float]:
        """Accuracy on the held-out patches, each at one cell, the same in every epoch."""
        generator = np.random.default_rng([self.config.seed, _VALIDATION])
        cells = np.arange(len(self.held_out)) % self.grid**2
        return {"accuracy_percent": self._accuracy(self.held_out, cells, generator)}

    def merit(self, scores: Mapping[str, float]) -> float:
        """The accuracy."""
        return scores["accuracy_percent"]

    def score(self, best_epoch: int, folder: Path) -> pd.DataFrame:
        """Accuracy on every test patch at every cell; beside it what else can be asked.

        On a grid, whether pooled vectors tell left from right; of single images that are
        classified, consistency under the three kinds of shifts.
        """
        values = {"accuracy_percent": self._test_accuracy()}
        values["heldout_accuracy_percent"] = self.validate()["accuracy_percent"]
        if self.grid > 1:
            means = self._cell_means()
            values |= {f"odd_{axis}_percent": odd_percent(means, axis) for axis in "xy"}
        elif self.config.task == CLASSIFICATION:
            for kind in SHIFTS:
                scores = self._consistency(kind)
                values |= {f"{kind}_{name}": value for name, value in scores.items()}
        config = self.config
        kept = {name: getattr(config, name) for name in COLUMNS if hasattr(config, name)}
        rows = pd.DataFrame({"metric": list(values), "value": list(values.values())}).assign(
            **kept | {"augshift": "" if self.weight is None else f"{self.weight:g}"},
        )
        rows = rows.assign(
            patch_limit=config.patch_limit or "",
            learning_rate=config.rate,
            grid=self.grid,
            classes=self.outputs,
            mirror=int(config.mirror),
            chance=1 / self.outputs,
            n_train=len(self.training),
            n_test=len(self.test),
            best_epoch=best_epoch,
        )
        return rows[COLUMNS]

    def draw(self, generator: np.random.Generator, which: np.ndarray) -> Batch:
        """A batch of the training patches `which`, with all that is drawn for it."""
        cells = generator.integers(self.grid**2, size=len(which))
        images = self._at_cells(self.training, which, cells, generator)
        if self.weight is not None:
            padded = functional.pad(images, (CROP_PAD,) * 4)
            shifts = generator.integers(2 * CROP_PAD + 1, size=(2, 2, len(which)))
            images = torch.cat(
                [self._moved(padded, pair, "crop", images.shape[2]) for pair in shifts]
            )
        labels = self._labels(self.training, which, cells)
        return Batch(images, labels, self._order(generator))

    def _at_cells(
        self,
        part: Part,
        which: np.ndarray,
        cells: np.ndarray,
        mirrored_by: np.random.Generator | None = None,
    ) -> Tensor:
        patches = part.patches[torch.from_numpy(which).to(self.device)]
        if self.config.mirror and mirrored_by is not None:
            # A mirrored patch at a random cell is as likely as that image mirrored as a whole.
            turned = torch.from_numpy(mirrored_by.random(len(which)) < 0.5).to(self.device)
            patches = torch.where(turned[:, None, None, None], patches.flip(3), patches)
        return laid(patches, torch.from_numpy(cells).to(self.device), self.grid)

    def _labels(self, part: Part, which: np.ndarray, cells: np.ndarray) -> Tensor:
        if self.config.task == LOCATION:
            return torch.from_numpy(cells).to(self.device)
        return part.shown[torch.from_numpy(which).to(self.device)]

    def _order(self, generator: np.random.Generator) -> Tensor | None:
        if self.config.head != PERMUTE:
            return None
        return torch.from_numpy(generator.permutation(self.network.channels)).to(self.device)

    def _moved(self, images: Tensor, shifts: np.ndarray, kind: str, size: int) -> Tensor:
        rows, columns = torch.from_numpy(shifts).to(self.device)
        return moved(images, rows, columns, kind, size)

    def _evaluated(self, count: int) -> Iterator[np.ndarray]:
        size = self.config.batch_size
        return (np.arange(first, min(first + size, count)) for first in range(0, count, size))

    @torch.no_grad()
    def _accuracy(self, part: Part, cells: np.ndarray, generator: np.random.Generator) -> float:
        """Percent of a pass; where channels are shuffled, another order for every batch."""
        self.network.eval()
        right = []
        for which in self._evaluated(len(part)):
            images = self._at_cells(part, which, cells[which])
            logits, _ = self.network(images, self._order(generator))
            right.append(logits.argmax(1) == self._labels(part, which, cells[which]))
        return 100 * float(torch.cat(right).float().mean())

    def _test_accuracy(self) -> float:
        """Mean over passes, in which every patch comes to every cell equally often."""
        cells = self.grid**2
        passes = cells if self.config.head != PERMUTE else cells * -(-ORDERS // cells)
        generator = np.random.default_rng([self.config.seed, _TEST])
        every = np.arange(len(self.test))
        return float(
            np.mean(
                [
                    self._accuracy(self.test, (every + shift) % cells, generator)
                    for shift in range(passes)
                ]
            )
        )

    @torch.no_grad()
    def _cell_means(self) -> Tensor:
        """Pooled vectors, means over test patches, (k, k, C)."""
        self.network.eval()
        sums = torch.zeros(self.grid**2, self.network.channels, dtype=torch.float64)
        for cell in range(self.grid**2):
            for which in self._evaluated(len(self.test)):
                images = self._at_cells(self.test, which, np.full(len(which), cell))
                sums[cell] += self.network(images)[1].double().sum(0).cpu()
        return sums.reshape(self.grid, self.grid, -1) / len(self.test)

    @torch.no_grad()
    def _consistency(self, kind: str) -> dict[str, float]:
        """Of two predictions of every test image; shifts are drawn for every image."""
        self.network.eval()
        generator = np.random.default_rng([self.config.seed, _SHIFTED, list(SHIFTS).index(kind)])
        first: list[np.ndarray] = []
        second: list[np.ndarray] = []
        shown: list[np.ndarray] = []
        for _ in range(PASSES):
            for which in self._evaluated(len(self.test)):
                images = self.test.patches[torch.from_numpy(which).to(self.device)]
                for found, view in zip(
                    (first, second), self._views(images, kind, generator), strict=True
                ):
                    order = self._order(generator)
                    found.append(self.network(view, order)[0].argmax(1).cpu().numpy())
                shown.append(self.test.shown[torch.from_numpy(which)].cpu().numpy())
        return agreement(*map(np.concatenate, (first, second, shown)))

    def _views(
        self, images: Tensor, kind: str, generator: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Two windows of an image 7/8 as large ("crop"), or an image and the same shifted."""
        size, count = images.shape[2], len(images)
        if kind == "crop":
            most = size // SHIFTS[kind]
            shifts = generator.integers(most + 1, size=(2, 2, count))
            first, second = (self._moved(images, pair, kind, size - most) for pair in shifts)
            return first, second
        shifts = generator.integers(-SHIFTS[kind], SHIFTS[kind], size=(2, count))
        return images, self._moved(images, shifts, kind, size)


def _optimizer(config: PooledConfig, network: PooledNetwork) -> torch.optim.Optimizer:
    if config.optimizer == SGD:
        return torch.optim.SGD(
            network.parameters(), lr=config.rate, momentum=0.9, weight_decay=5e-4
        )
    return torch.optim.Adam(network.parameters(), lr=config.rate, betas=(0.5, 0.999))


class _Drawn:
    """The batches of an epoch; a patch that would be alone in the last one is left out."""

    def __init__(self, task: PooledTask, generator: np.random.Generator) -> None:
        self.task, self.generator = task, generator
        order = generator.permutation(len(task.training))
        size = task.config.batch_size
        parts = [order[first : first + size] for first in range(0, len(order), size)]
        self.parts = [part for part in parts if len(part) > 1]

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[Any]:
        for which in self.parts:
            yield self.task.draw(self.generator, which)
