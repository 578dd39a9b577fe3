"""What the trainer needs to know of a task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import torch
from torch import Tensor, nn


class Batches(Protocol):
    """The batches of an epoch, of whatever the task's loss takes."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Any]: ...


class Task(ABC):
    """A network and all that it is trained with; one is built for every seed.

    What a checkpoint calls `state_dict` is the network's `backbone`, if it has one; the rest of
    the network is the `decoder`. No random state is kept: what is drawn in an epoch is drawn from
    the seed and the number of the epoch, so that a resumed training ends in the same weights.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    settings: Mapping[str, Any]  # all that the weights depend on, of plain types
    epochs: int
    patience: int | None = None  # epochs without a better one after which the training ends
    threads: int | None = None  # of the arithmetic; None: as many as there are cores for

    def prepare(self) -> None:  # noqa: B027  (most tasks have nothing to do)
        """Do what takes long and a plan can do without, before the training."""

    @abstractmethod
    def batches(self, epoch: int) -> Batches:
        """What is trained on in epoch `epoch`, counted from 0."""

    @abstractmethod
    def loss(self, batch: Any) -> Tensor:
        """The loss of a batch, a scalar: its gradient is the step's."""

    def rate(self, step: int, steps: int) -> float | None:
        """The learning rate of step `step` of `steps`; None: the optimiser's own."""
        return None

    @abstractmethod
    def validate(self) -> dict[str, float]:
        """Scores after an epoch, on what is not trained on; NaN where there is none."""

    @abstractmethod
    def merit(self, scores: Mapping[str, float]) -> float:
        """How good an epoch of these scores is, larger for the better: the best is kept.

        Raises `UserError` where that cannot be said.
        """

    @abstractmethod
    def score(self, best_epoch: int, folder: Path) -> pd.DataFrame:
        """The scores of the network as it is now, its best epoch: tidy rows, for the results.

        What else there is to keep is written to `folder`.
        """
