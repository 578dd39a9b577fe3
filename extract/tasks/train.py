"""`train-backbone`: the networks of a task, one for each seed, from options to scores on disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import joblib
import pandas as pd
import torch

from data.calls import keep_calls
from data.tools.device import arithmetic_threads
from data.tools.errors import UserError
from data.tools.files import check_writable
from data.tools.locks import FileLock
from data.tools.parallel import run_tasks
from data.tools.progress import progress
from data.tools.terminal import quietly
from extract.tasks import saving
from extract.tasks import scores as results
from extract.tasks.config import TaskConfig
from extract.tasks.table import TASKS
from extract.tasks.task import Task
from extract.tasks.trainer import resume, train


def train_backbone(config: TaskConfig) -> Path:
    """Train a network for each seed and score its best epoch.

    Returns the checkpoint of that epoch (of the first seed) where `out` names it, else the table
    of scores. Goes on from the last finished epoch; networks of several seeds are trained at a
    time where there are cores for them. Raises `UserError` for unsuitable options or data, and
    where a checkpoint or folder holds a training with other settings.
    """
    runs = config.each_run()
    for run in runs:
        _check_places(run)
    cores = joblib.cpu_count()  # that this process may use
    jobs = 1 if torch.cuda.is_available() else min(len(runs), cores)  # runs would share the GPU
    if jobs == 1:
        for run in runs:
            _train_run(run, torch.get_num_threads())
    else:
        trained = run_tasks(_train_quietly, [(run, cores // jobs) for run in runs], jobs=jobs)
        list(progress(trained, total=len(runs), description=config.task, unit="networks"))
    keep_calls(config.results_dir, [config.command])
    return config.out or results.joined_path(config)


def plan_backbone(config: TaskConfig) -> str:
    """The plan of `train_backbone`: a line for every network; nothing is written.

    Raises `UserError` for unsuitable options or data, and for a training with other settings.
    """
    return "\n".join(_plan(run) for run in config.each_run())


def _plan(config: TaskConfig) -> str:
    task = TASKS[config.task].build(config)
    done, last = 0, saving.last_path(config.checkpoint)
    if not config.overwrite:
        _check_earlier(config, task)
        if last.exists():
            done = int(saving.read(last)["provenance"]["epoch"])
    steps = len(task.batches(0))
    weights = sum(value.nbytes for value in task.network.state_dict().values())
    most = "at most " if task.patience else ""
    return (
        f"{config.checkpoint}: {done} of {most}{task.epochs} epochs finished; {steps} steps an "
        f"epoch, {most}{(task.epochs - done) * steps} to go; {weights} bytes of weights"
    )


def _train_quietly(config: TaskConfig, threads: int) -> None:
    with quietly(True):  # the lines of several at once could not be told apart
        _train_run(config, threads)


def _train_run(config: TaskConfig, threads: int) -> None:
    """Train and score one network, with nobody else at work on its files."""
    with ExitStack() as locks:
        for place in (config.checkpoint, config.folder / "training"):
            locks.enter_context(_alone(place))
        task = TASKS[config.task].build(config)
        if not config.overwrite:
            threads = _check_earlier(config, task) or threads
        with arithmetic_threads(task.threads or threads):
            _train_and_score(config, task)


def _train_and_score(config: TaskConfig, task: Task) -> None:
    results.begin_run(config.folder, task.settings, overwrite=config.overwrite)
    task.prepare()
    history = [] if config.overwrite else resume(task, config.checkpoint)
    history = train(task, config.checkpoint, history)
    best = saving.restore(config.checkpoint, task.network)["provenance"]
    results.write_table(config.folder / results.EPOCHS, pd.DataFrame(history))
    results.write_scores(config, task.score(best["epoch"], config.folder))


def _check_earlier(config: TaskConfig, task: Task) -> int | None:
    """Refuse to go on from a training with other settings; the threads of one that began."""
    threads = None
    for path in (config.checkpoint, saving.last_path(config.checkpoint)):
        if path.exists():
            found = saving.read(path)
            results.refuse_others(path, found["provenance"], task.settings)
            threads = found["provenance"].get("threads")
    results.check_run(config.folder, task.settings)
    return threads


def _check_places(config: TaskConfig) -> None:
    """Refuse, before any work, what could not be written after it."""
    check_writable(config.checkpoint.parent, "--out")
    check_writable(config.folder, "--results-dir")
    for path in (saving.last_path(config.checkpoint), results.joined_path(config)):
        if path.is_dir():
            raise UserError(f"{path} is a folder, and a file is to be written there: move it away")


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
