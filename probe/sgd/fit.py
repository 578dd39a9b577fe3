"""The epochs of one pass: every head of a bank, over the same shuffled batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.tools.device import same_kernels
from data.tools.errors import UserError
from data.tools.progress import meter
from probe.batches import FeatureBatches, epoch_windows, plain_windows
from probe.sgd.bank import Bank
from probe.sgd.checkpoint import Checkpoint
from probe.sgd.schedule import Schedule

SHUFFLE_SEED = 0  # the order of the images; seeds of heads vary their initial weights alone


@dataclass(frozen=True)
class Split:
    """Rows of the cache that a pass trains on and holds out."""

    train: NDArray[np.int64]
    heldout: NDArray[np.int64]


def split_rows(rows: NDArray[np.int64], test: NDArray[np.int64], share: float) -> Split:
    """Training and held-out rows: every k-th training row is held out, or the test set is.

    At least one is held out, where any is to be; `UserError` when none would be left to train on.
    """
    if share == 0:
        return Split(rows, test)
    if len(rows) < 2:
        raise UserError(
            f"{len(rows)} training image(s) are too few: some are held out from training, so "
            "extract 2 or more"
        )
    every = min(round(1 / share), len(rows))
    chosen = np.zeros(len(rows), dtype=bool)
    chosen[every - 1 :: every] = True
    return Split(rows[~chosen], rows[chosen])


def fit(
    bank: Bank,
    batches: FeatureBatches,
    split: Split,
    checkpoint: Checkpoint,
    description: str,
) -> Tensor:
    """Train `bank` to the end of its recipe; (epochs, 2, heads) training and held-out losses.

    Goes on from `checkpoint` where it holds the same heads, and saves there after every epoch.
    """
    optimizer = bank.optimizer()
    schedule = Schedule.of(bank.recipe, len(split.train))
    history = checkpoint.restore(bank, optimizer)
    remaining = range(len(history), schedule.epochs)
    total = sum(
        min(len(schedule.steps(epoch)) * bank.recipe.batch_size, len(split.train))
        for epoch in remaining
    )
    with (
        same_kernels(batches.device),
        meter(total=total, description=description, unit="images") as advance,
    ):
        for epoch in remaining:
            train = _train_epoch(bank, batches, split.train, optimizer, schedule, epoch, advance)
            heldout = mean_losses(bank, batches, split.heldout, bank.recipe.batch_size)
            history.append(torch.stack([train, heldout]).cpu())
            checkpoint.save(bank, optimizer, history)
    return torch.stack(history)


def _train_epoch(
    bank: Bank,
    batches: FeatureBatches,
    rows: NDArray[np.int64],
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    epoch: int,
    advance: Callable[[int], None],
) -> Tensor:
    """One step per batch of `rows`; the mean loss of every head on the way, (heads,)."""
    size = bank.recipe.batch_size
    windows = epoch_windows(rows, batches.image_bytes, size, SHUFFLE_SEED, epoch)
    bank.train()
    total, images = torch.zeros(len(bank.entries), device=batches.device), 0
    for step, (part, features) in zip(
        schedule.steps(epoch), batches.batches(windows, size), strict=False
    ):
        _set_learning_rates(optimizer, bank, schedule.rate(step))
        losses = bank.losses(bank(features))
        optimizer.zero_grad(set_to_none=True)
        losses.sum().backward()
        optimizer.step()
        total += losses.detach() * len(part)
        images += len(part)
        advance(len(part))
    return total / images


def _set_learning_rates(optimizer: torch.optim.Optimizer, bank: Bank, share: float) -> None:
    for group, block in zip(optimizer.param_groups, bank.blocks, strict=True):
        group["lr"] = block.entries[0].learning_rate * share


@torch.no_grad()
def mean_losses(
    bank: Bank, batches: FeatureBatches, rows: NDArray[np.int64], batch_size: int
) -> Tensor:
    """The loss of every head over `rows`, in evaluation mode, (heads,)."""
    bank.eval()
    total = torch.zeros(len(bank.entries), device=batches.device)
    for part, features in batches.batches(plain_windows(rows, batches.image_bytes), batch_size):
        total += bank.losses(bank(features)) * len(part)
    return total / max(len(rows), 1)


@torch.no_grad()
def outputs_of(
    bank: Bank, batches: FeatureBatches, rows: NDArray[np.int64], batch_size: int
) -> list[NDArray[np.float32]]:
    """Outputs of every head on `rows` in evaluation mode: (len(rows), n, n) each."""
    bank.eval()
    parts: list[list[NDArray[np.float32]]] = [[] for _ in bank.entries]
    for _, features in batches.batches(plain_windows(rows, batches.image_bytes), batch_size):
        maps = [output[:, head] for output in bank(features) for head in range(output.shape[1])]
        for kept, output in zip(parts, maps, strict=True):
            kept.append(output.cpu().numpy())
    return [np.concatenate(kept) for kept in parts]
