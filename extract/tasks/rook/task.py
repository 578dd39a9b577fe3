"""The rook's training, by the recipe of the notebook of Kayhan and van Gemert (CVPR 2020).

PyTorch's own initialisation after `torch.manual_seed(seed)`, cross-entropy, SGD 0.1 with momentum
0.9, batches of one image in a fixed order, 100 epochs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from data.tools.files import write_text
from data.tools.locks import locked
from data.vocabulary import ROOK_MARGINS_CSV
from extract.tasks.rook.bank import RookBank, score
from extract.tasks.rook.config import RookConfig
from extract.tasks.rook.images import placed_twice, read_greys, stamp
from extract.tasks.task import Task

EPOCHS, LEARNING_RATE, MOMENTUM = 100, 0.1, 0.9
EPOCHS_A_CHECKPOINT = 20  # of two steps each: an epoch of the trainer
KERNELS = 50  # untrained, of every margin of the sweep
MARGINS = range(5)
DRAWN = "drawn rook"
_KEY = ["images", "padding", "margin"]


class RookTask(Task):
    """A bank of networks that learn where the rook is, each on its two images.

    Raises `UserError` for images that cannot be read.
    """

    epochs = EPOCHS // EPOCHS_A_CHECKPOINT
    threads = 1  # maps of 32x32 cost more to share out than to compute
    network: RookBank

    def __init__(self, config: RookConfig) -> None:
        greys = read_greys(config.images) if config.images else placed_twice(stamp(), config.margin)
        self.config = config
        self.seeds = range(config.seed, config.seed + config.seeds)
        self.images = torch.from_numpy(greys)
        self.network = RookBank(config.padding, self.seeds)
        self.optimizer = torch.optim.SGD(
            self.network.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM
        )
        self.settings = {
            "task": config.task,
            "images_sha256": hashlib.sha256(greys.tobytes()).hexdigest(),
            "padding": config.padding,
            "margin": config.margin,
            "seed": config.seed,
            "seeds": config.seeds,
        }

    def batches(self, epoch: int) -> list[int]:
        """The labels 0 and 1 in turn: an image a step."""
        return [0, 1] * EPOCHS_A_CHECKPOINT

    def loss(self, label: int) -> Tensor:
        """The sum of the networks' cross-entropies, so that each has the gradient of its own."""
        logits = self.network(self.images[label : label + 1])[:, 0]
        labels = torch.full((len(logits),), label)
        return functional.cross_entropy(logits, labels, reduction="sum")

    def validate(self) -> dict[str, float]:
        """Means over the networks, on the two images they are trained on: there are no others."""
        scores = score(self.network, self.images)
        return {
            "accuracy_percent": 100 * float(scores.accuracy.mean()),
            "loss": float(scores.loss.mean()),
        }

    def merit(self, scores: Mapping[str, float]) -> float:
        """The same for all: the recipe keeps the last epoch."""
        return 0.0

    def score(self, best_epoch: int, folder: Path) -> pd.DataFrame:
        """A row per seed. Beside it, for the drawn rook, goes the sweep over the margin."""
        scores = score(self.network, self.images)
        if not self.config.images:
            _join(self.config.results_dir / ROOK_MARGINS_CSV, margin_sweep(self.config.padding))
        return pd.DataFrame(
            {
                "images": "+".join(path.name for path in self.config.images) or DRAWN,
                "padding": self.config.padding,
                "margin": self.config.margin,
                "seed": self.seeds,
                "accuracy_percent": 100 * scores.accuracy.numpy(),
                "dead": scores.dead.numpy().astype(int),
                "equal": scores.equal.numpy().astype(int),
                "loss": scores.loss.numpy(),
                "epochs": EPOCHS,
            }
        )


@torch.no_grad()
def margin_sweep(padding: str) -> pd.DataFrame:
    """Of 50 untrained kernels, how many have different maxima at the two places, by margin.

    Columns: images, padding, margin, n_kernels, n_different.
    """
    bank = RookBank(padding, range(KERNELS))
    rows = []
    for margin in MARGINS:
        pooled = bank.pooled(torch.from_numpy(placed_twice(stamp(), margin)))
        different = int((pooled[:, 0] != pooled[:, 1]).sum())
        rows.append((DRAWN, padding, margin, KERNELS, different))
    return pd.DataFrame(rows, columns=[*_KEY, "n_kernels", "n_different"])


def _join(path: Path, table: pd.DataFrame) -> None:
    """Put rows in the place of earlier ones of the same key."""
    with locked(path.with_name(f".{path.name}.lock")):
        if path.exists():
            before = pd.read_csv(path)
            keys = pd.MultiIndex.from_frame(table[_KEY])
            table = pd.concat([before[~pd.MultiIndex.from_frame(before[_KEY]).isin(keys)], table])
        write_text(path, table.to_csv(index=False, float_format="%.6g"))
