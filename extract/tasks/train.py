"""The training of a backbone on a task: from images and masks to a checkpoint and its scores."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torchvision
from numpy.typing import NDArray

from data.tools.device import find_device, has_fast_bfloat16
from data.tools.errors import UserError
from data.tools.files import check_writable
from data.tools.locks import FileLock
from data.tools.progress import progress
from data.tools.terminal import say
from data.vocabulary import TASKS_CSV
from extract.tasks import saving as checkpoint
from extract.tasks import scores as results
from extract.tasks.config import HELD_OUT, TaskConfig
from extract.tasks.crops import crop_shifts, shift_slopes
from extract.tasks.network import BACKBONE, build_network
from extract.tasks.pairs.loader import Batches
from extract.tasks.pairs.mirrored import mirrored
from extract.tasks.pairs.sets import PairSet, test_pairs, training_pairs
from extract.tasks.trainer import Trainer, learning_rate

MAIN_SCORE = {"saliency": "f_measure", "segmentation": "miou_percent"}  # chooses the best epoch
SCHEMA = 1


def train_backbone(config: TaskConfig) -> Path:
    """Train VGG16 on a task, score its best epoch; returns the checkpoint of that epoch.

    Goes on from the last finished epoch. Raises `UserError` for unsuitable options or data, and
    where `out` holds a training with other settings.
    """
    _check_places(config)
    places = (config.out, results.run_folder(config.results_dir, config.out.stem) / "training")
    with ExitStack() as locks:
        for place in places:
            locks.enter_context(_alone(place))
        return _train_and_score(config)


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Keep other trainings away from a place to write to; `UserError` when one is at work there."""
    lock = FileLock(place.with_name(f".{place.name}.lock"))
    try:
        if not lock.take(wait=False):
            raise UserError(
                f"another train-backbone is at work on {place}: "
                "wait until it has ended, or choose another --out"
            )
        yield
    finally:
        lock.free()


def _train_and_score(config: TaskConfig) -> Path:
    device = find_device(config.device)
    fast = config.precision == "auto" and has_fast_bfloat16(device)
    dtype = torch.bfloat16 if fast or config.precision == "bf16" else torch.float32
    pairs, tests = training_pairs(config), test_pairs(config)
    _check_tests(pairs, tests)
    network = build_network(config, len(pairs.classes) or 1)
    settings = {**_settings(config, pairs, dtype), **network.started_from}
    folder = results.run_folder(config.results_dir, config.out.stem)
    if not config.overwrite:
        for path in (config.out, checkpoint.last_path(config.out)):
            checkpoint.check_settings(path, settings)
        results.check_run(folder, settings)
    network = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate, fused=True)
    trainer = Trainer(network, optimizer, device, dtype)
    results.begin_run(folder, settings, overwrite=config.overwrite)
    history = _train(trainer, config, pairs, settings)
    best = checkpoint.restore(config.out, network)["provenance"]
    results.write_table(folder / results.EPOCHS, pd.DataFrame(history))
    rows = []
    for test in tests:
        scores = _score(trainer, config, test)
        if config.task == "saliency":
            scores |= _follow_crops(trainer, config, test, folder)
        rows += [_row(settings, best["epoch"], test, *score) for score in scores.items()]
    results.write_scores(config.results_dir, config.out.stem, rows)
    return config.out


def _check_places(config: TaskConfig) -> None:
    """Refuse, before any work, what could not be written after it."""
    check_writable(config.out.parent, "--out")
    check_writable(config.results_dir / "tasks" / config.out.stem, "--results-dir")
    for path in (checkpoint.last_path(config.out), config.results_dir / TASKS_CSV):
        if path.is_dir():
            raise UserError(f"{path} is a folder, and a file is to be written there: move it away")


def _check_tests(pairs: PairSet, tests: Sequence[PairSet]) -> None:
    for test in tests:
        if len(test.classes) != len(pairs.classes):
            raise UserError(
                f"{test.name} has {len(test.classes)} classes and {pairs.name}, to train on, has "
                f"{len(pairs.classes)}: give a test set of the same classes"
            )
    if not tests:
        say(f"no --test: only the held-out images of {pairs.name} are scored, in {results.EPOCHS}")


def split(count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices to train on and to validate on: every tenth is held out."""
    held_out = np.arange(count) % HELD_OUT == HELD_OUT - 1
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def _settings(config: TaskConfig, pairs: PairSet, dtype: torch.dtype) -> dict[str, Any]:
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


def _train(
    trainer: Trainer, config: TaskConfig, pairs: PairSet, settings: dict[str, Any]
) -> list[dict[str, float]]:
    """Train to the last epoch, or go on to it; one entry per epoch."""
    last = checkpoint.last_path(config.out)
    history = [] if config.overwrite else _resume(trainer, last)
    training, held_out = split(len(pairs))
    if not len(held_out):
        raise UserError(f"{pairs.name} has {len(pairs)} images: {HELD_OUT} or more are needed")
    for epoch in range(len(history), config.epochs):
        loss = _epoch(trainer, config, pairs, training, epoch)
        scores = trainer.score(_batches(config, trainer, pairs, held_out), pairs.classes)
        history.append({"epoch": epoch + 1, "train_loss": loss, **scores})
        say(f"{config.out.stem}: " + ", ".join(f"{k} {v:.4g}" for k, v in history[-1].items()))
        # A class that occurs nowhere has no score: NaN, which differs from itself.
        validation = {key: None if math.isnan(v) else v for key, v in scores.items()}
        provenance = {**settings, "epoch": epoch + 1, "validation": validation, "made": _versions()}
        main = MAIN_SCORE[config.task]
        if validation[main] is None:
            raise UserError(
                f"no pixel of the held-out masks of {pairs.name} counts at --image-size "
                f"{config.image_size}: give a larger one, or other masks"
            )
        if scores[main] >= max(entry[main] for entry in history):
            checkpoint.save(config.out, trainer.network, provenance)
        state = {"optimizer": trainer.optimizer.state_dict(), "history": history}
        checkpoint.save(last, trainer.network, provenance, state)
    return history


def _resume(trainer: Trainer, last: Path) -> list[dict[str, float]]:
    # The best is written before the last: without the last, the first epoch was not finished.
    if not last.exists():
        return []
    content = checkpoint.restore(last, trainer.network)
    try:
        training = content["training"]
        trainer.optimizer.load_state_dict(training["optimizer"])
        return list(training["history"])
    except (KeyError, TypeError, ValueError) as error:
        raise checkpoint.no_checkpoint(last, error) from error


def _epoch(
    trainer: Trainer,
    config: TaskConfig,
    pairs: PairSet,
    training: NDArray[np.int64],
    epoch: int,
) -> float:
    """One pass over the training images; the mean loss."""
    # The order depends on seed and epoch alone, so there is no random state to keep.
    order = np.random.default_rng([config.seed, epoch]).permutation(training)
    if config.mirror:
        pairs = mirrored(pairs, config.seed, epoch)
    batches = _batches(config, trainer, pairs, order)
    steps = config.epochs * len(batches)
    shown = progress(
        batches,
        total=len(order),
        description=f"{config.out.stem}: epoch {epoch + 1} of {config.epochs}",
        unit="images",
        size=lambda batch: len(batch[0]),
    )
    losses = []
    for number, (images, masks) in enumerate(shown, start=epoch * len(batches)):
        rate = learning_rate(number, steps, config.learning_rate)
        losses.append(trainer.step(images, masks, rate))
        if not math.isfinite(losses[-1]):
            raise UserError(
                f"the loss became {losses[-1]} in epoch {epoch + 1}: use a --learning-rate below "
                f"{config.learning_rate}, or --precision fp32"
            )
    return float(np.mean(losses))


def _score(trainer: Trainer, config: TaskConfig, test: PairSet) -> dict[str, float]:
    batches = _batches(config, trainer, test, np.arange(len(test)))
    shown = progress(
        batches,
        total=len(test),
        description=f"{config.out.stem}: scoring on {test.name}",
        unit="images",
        size=lambda batch: len(batch[0]),
    )
    scores = trainer.score(shown, test.classes)
    del scores["loss"]
    return scores


def _follow_crops(
    trainer: Trainer, config: TaskConfig, test: PairSet, folder: Path
) -> dict[str, float]:
    table, arrays = crop_shifts(trainer, test, config.image_size)
    name = test.name
    results.write_table(folder / f"{name}-{results.SHIFTS}", table)
    results.write_arrays(folder / f"{name}-{results.CROPS}", arrays)
    return shift_slopes(table)


def _row(
    settings: dict[str, Any], best_epoch: int, test: PairSet, metric: str, value: float
) -> dict[str, Any]:
    copied = ("task", "padding", "seed", "levels", "image_size", "normalization", "mirror")
    return {
        **{key: settings[key] for key in (*copied, "epochs", "precision")},
        "model": settings["backbone"],
        "train_set": settings["data"],
        "test_set": test.name,
        "metric": metric,
        "value": value,
        "n_train": len(split(settings["images"])[0]),
        "n_test": len(test),
        "best_epoch": best_epoch,
    }


def _batches(
    config: TaskConfig, trainer: Trainer, pairs: PairSet, order: Sequence[int] | NDArray[np.int64]
) -> Batches:
    return Batches(
        pairs,
        order,
        size=config.image_size,
        batch_size=config.batch_size,
        num_workers=config.num_workers,
        device=trainer.device,
    )


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torchvision": str(torchvision.__version__),
    }
