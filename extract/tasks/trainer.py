"""The training of any task: epoch by epoch, and on from the last one that was finished."""

from __future__ import annotations

import math
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.tools.errors import UserError
from data.tools.progress import progress
from data.tools.terminal import say
from extract.tasks import saving
from extract.tasks.task import Task

History = list[dict[str, float]]


def train(task: Task, checkpoint: Path, history: History) -> History:
    """Train from the epochs in `history` to the last; returns the scores of all epochs.

    After every epoch the network is saved: beside `checkpoint` with all the next epoch needs, and
    at `checkpoint` where no epoch before was better. Raises `UserError` where the loss diverges.
    """
    name, begun, done = checkpoint.stem, time.monotonic(), len(history)
    while len(history) < task.epochs and not _patience_ended(task, history):
        epoch = len(history)
        scores = {"train_loss": _epoch(task, name, epoch), **task.validate()}
        history.append({"epoch": epoch + 1, **scores})
        say(f"{name}: " + ", ".join(f"{k} {v:.4g}" for k, v in history[-1].items()))
        provenance = {
            **task.settings,
            "epoch": epoch + 1,
            "validation": {key: _plain(scores[key]) for key in scores if key != "train_loss"},
            "threads": torch.get_num_threads(),
            "made": _versions(),
        }
        if task.merit(scores) >= max(map(task.merit, history)):
            saving.save(checkpoint, task.network, provenance)
        training = {"optimizer": task.optimizer.state_dict(), "history": history}
        saving.save(saving.last_path(checkpoint), task.network, provenance, training)
    say(f"{name}: {len(history) - done} epochs in {time.monotonic() - begun:.1f} s")
    return history


def resume(task: Task, checkpoint: Path) -> History:
    """Set network and optimiser to where the training stopped; the epochs that are done."""
    # The best is written before the last: without the last, the first epoch was not finished.
    last = saving.last_path(checkpoint)
    if not last.exists():
        return []
    content = saving.restore(last, task.network)
    try:
        training = content["training"]
        task.optimizer.load_state_dict(training["optimizer"])
        return list(training["history"])
    except (KeyError, TypeError, ValueError) as error:
        raise saving.no_checkpoint(last, error) from error


def _patience_ended(task: Task, history: History) -> bool:
    if task.patience is None or not history:
        return False
    merits = [task.merit(scores) for scores in history]
    best = max(index for index, merit in enumerate(merits) if merit == max(merits))
    return len(history) - 1 - best >= task.patience


def _epoch(task: Task, name: str, epoch: int) -> float:
    """One pass over the training set; the mean loss."""
    batches = task.batches(epoch)
    steps = task.epochs * len(batches)
    shown = progress(
        batches,
        total=len(batches),
        description=f"{name}: epoch {epoch + 1} of {task.epochs}",
        unit="batches",
    )
    losses = []
    for number, batch in enumerate(shown, start=epoch * len(batches)):
        losses.append(_step(task, batch, task.rate(number, steps)))
        if not math.isfinite(losses[-1]):
            raise UserError(
                f"the loss became {losses[-1]} in epoch {epoch + 1}: use a smaller "
                "--learning-rate, or --precision fp32, where the task has them"
            )
    return float(np.mean(losses))


def _step(task: Task, batch: Any, rate: float | None) -> float:
    if rate is not None:
        for group in task.optimizer.param_groups:
            group["lr"] = rate
    loss = task.loss(batch)
    task.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    task.optimizer.step()
    return float(loss.detach())


def _plain(score: float) -> float | None:
    # A class that occurs nowhere has no score: NaN, which differs from itself.
    return None if math.isnan(score) else score


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torchvision": version("torchvision"),
    }
