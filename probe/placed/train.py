"""The stage of placed studies: from pooled caches to what vectors say of place and class."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.cache.pooled.reader import POOLINGS, PooledCache, find_pooled, pooled_calls
from data.calls import keep_calls
from data.intervals import bootstrap_intervals
from data.tools.device import arithmetic_threads
from data.tools.errors import UserError
from data.tools.files import check_writable
from data.tools.parallel import run_tasks
from data.tools.terminal import say
from probe.placed.config import PlacedProbeConfig
from probe.placed.read import Accuracies, read_vectors, tasks_of
from probe.placed.readings import readings_of, without_rounding
from probe.results.placed_run import (
    begin_placed,
    finished_placed,
    write_all_placed,
    write_placed,
)

EVERY_CELL = ""  # in the column `ring`

Row = dict[str, Any]


def train_placed(config: PlacedProbeConfig) -> Path:
    """Solve for every reading of every pooled cache; the path of `placed.csv`.

    Heads whose accuracies are there are left alone. Raises `UserError` for caches that are
    incomplete or damaged, and for results that were made from others.
    """
    check_writable(config.results_dir, "--results-dir")
    runs = find_runs(config)
    for run in runs:
        run.begin()
    tasks = [(run,) for run in runs]
    where = config.scheduler
    list(run_tasks(_solve, tasks, jobs=config.jobs, backend=config.backend, scheduler=where))
    keep_calls(
        config.results_dir, [*pooled_calls([run.cache for run in runs]), config.call("placed")]
    )
    return write_all_placed(config.results_dir)


def plan_placed_training(config: PlacedProbeConfig) -> str:
    """The plan of `train_placed`: a line for every cache; nothing is written."""
    return "\n".join(run.plan() for run in find_runs(config))


def find_runs(config: PlacedProbeConfig) -> list[PlacedRun]:
    """The caches to read, and with what; `UserError` where there is none."""
    threads = config.threads or torch.get_num_threads()
    runs = [
        PlacedRun(cache, config, threads)
        for cache in find_pooled(config.cache_dir)
        if config.wants(cache.identity.backbone, cache.identity.padding)
    ]
    if not runs:
        raise UserError(
            f"no pooled cache in {config.cache_dir} is of images as they are and of "
            f"{', '.join(config.backbone) or 'any backbone'} with "
            f"{', '.join(config.padding) or 'any padding'}: run extract-features --placed first"
        )
    return runs


def _solve(run: PlacedRun) -> None:
    run.solve()


@dataclass(frozen=True)
class PlacedRun:
    """The readings of one cache."""

    cache: PooledCache
    config: PlacedProbeConfig
    threads: int  # of the arithmetic

    @property
    def folder(self) -> Path:
        """Of its results."""
        return self.config.results_dir / self.cache.folder.resolve().name

    def plan(self) -> str:
        """What there is to solve for, and what is done."""
        done = set() if self.config.overwrite else finished_placed(self.folder)
        poolings = self.config.pooling or POOLINGS
        pairs = [(level, pooling) for level in self._levels() for pooling in poolings]
        left = sum(len(self._missing(level, pooling, done)) for level, pooling in pairs)
        rows = self.cache.identity.n_patches * len(self.cache.identity.cells)
        size = 4 * rows * sum(self.cache.levels[level] for level, _ in pairs)
        return (
            f"{self.folder}: {left} readings to solve for, {len(done)} heads finished; "
            f"{size} bytes of vectors to read"
        )

    def begin(self) -> None:
        """Agree with the results there are; raises as `begin_placed`."""
        about = {
            "cache_dir": str(self.cache.folder.parent),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        }
        begin_placed(self.folder, self.cache.identity, about=about, overwrite=self.config.overwrite)

    def solve(self) -> None:
        """Solve for what is missing, level by level, and keep it."""
        done = finished_placed(self.folder)
        with arithmetic_threads(self.threads):
            for level in self._levels():
                rows: list[Row] = []
                patches: list[Row] = []
                for pooling in self.config.pooling or POOLINGS:
                    for found in self._read(level, pooling, done):
                        head, ours, theirs = self._rows(level, pooling, found)
                        rows += [{**row, "head": head} for row in ours]
                        patches += [{**row, "head": head} for row in theirs]
                if rows:
                    write_placed(self.folder, rows, patches)
        say(f"{self.folder.name}: {len(finished_placed(self.folder))} heads")

    def _levels(self) -> list[str]:
        wanted = self.config.levels or tuple(self.cache.levels)
        return [level for level in self.cache.levels if level in wanted]

    def _missing(self, level: str, pooling: str, done: set[str]) -> list[str]:
        """The readings of which a head is not done."""
        readings = [
            name
            for name in readings_of(level)
            if not self.config.reading or name in self.config.reading
        ]
        return [
            name
            for name in readings
            if not all(
                head_name(level, pooling, task.name, name, solver) in done
                for task in tasks_of(self.cache)
                for solver in self.config.solvers
            )
        ]

    def _read(self, level: str, pooling: str, done: set[str]) -> Iterator[Accuracies]:
        tasks, missing = tasks_of(self.cache), self._missing(level, pooling, done)
        if missing:
            vectors = without_rounding(self.cache.read(level, pooling))
            yield from read_vectors(
                vectors, tasks, missing, self.config.solvers, seed=self.cache.identity.seed
            )

    def _rows(
        self, level: str, pooling: str, found: Accuracies
    ) -> tuple[str, list[Row], list[Row]]:
        """The head's name, its rows of `placed.csv` and of `placed_patches.csv`."""
        identity, task = self.cache.identity, found.task
        key: Row = {
            "level": level,
            "pooling": pooling,
            "task": task.name,
            "reading": found.reading,
            "solver": found.solver,
            "run": self.folder.name,
        }
        common = {
            "study": identity.kind,
            "backbone": identity.backbone,
            "weights": identity.weights,
            "backbone_padding": identity.padding,
            "grid": identity.grid,
            "border": identity.border,
            "gap": identity.gap,
            "calibration": identity.calibrated_on,
            "canvas": identity.canvas,
            "patches": identity.patches,
            "patch_size": identity.patch_size,
            "chance": 1.0 / task.classes,
            "n_train_patches": len(task.patches(0)),
            "n_test_patches": len(found.accuracy),
            "permutations": found.permutations,
            "seed": identity.seed,
        }
        by_ring = accuracy_by_ring(found.accuracy, identity.rings)
        intervals = bootstrap_intervals(np.stack(list(by_ring.values()), 1)).clip(0.0, 1.0)
        rows = [
            {**key, **common, "ring": ring, "accuracy": accuracy.mean(), "low": low, "high": high}
            for (ring, accuracy), (low, high) in zip(by_ring.items(), intervals, strict=True)
        ]
        patches = [
            {**key, "ring": ring, "patch": patch, "accuracy": value}
            for ring, accuracy in by_ring.items()
            for patch, value in zip(task.patches(2), accuracy, strict=True)
        ]
        return head_name(level, pooling, task.name, found.reading, found.solver), rows, patches


def accuracy_by_ring(
    accuracy: np.ndarray[Any, np.dtype[np.float64]], rings: list[int]
) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    """Accuracy of each test patch, (test patches,), over all cells and over those of each ring.

    Ring r is r cells from the nearest edge. Where all cells are in one there is nothing to tell.
    """
    found = {EVERY_CELL: accuracy.mean(1)}
    if len(set(rings)) > 1:
        for ring in sorted(set(rings)):
            found[str(ring)] = accuracy[:, [each == ring for each in rings]].mean(1)
    return found


def head_name(level: str, pooling: str, task: str, reading: str, solver: str) -> str:
    """What a head is called in its run."""
    return "-".join((level, pooling, task, reading, solver))
