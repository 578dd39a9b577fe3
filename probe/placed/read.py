"""Accuracies of every reading of a pooled cache, for each test patch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from data.cache.pooled.reader import PooledCache
from data.images.placed.placement import HELD_OUT, TEST, TRAIN
from probe.placed.directions import Directions, Floats
from probe.placed.readings import READINGS, Reading
from probe.placed.solvers import SOLVERS, Part


@dataclass(frozen=True)
class Task:
    """What is read: one of `classes` labels of every patch and cell."""

    name: str  # "location", "class", or "class-9" of the first 9 classes alone
    classes: int  # K
    labels: NDArray[np.int64]  # (patches, cells)
    split: NDArray[np.int64]  # (patches,): TRAIN, HELD_OUT, TEST, or -1 of patches left out

    def patches(self, part: int) -> NDArray[np.int64]:
        """The patches of a part of the split."""
        return np.flatnonzero(self.split == part)


@dataclass(frozen=True)
class Accuracies:
    """How well one reading does, by one solver."""

    task: Task
    reading: str
    solver: str
    accuracy: Floats  # (test patches, cells): what was read right, the mean over the draws

    @property
    def permutations(self) -> int:
        """Random permutations averaged over."""
        return READINGS[self.reading].draws


def tasks_of(cache: PooledCache) -> list[Task]:
    """Location; where patches have classes, their class; and as many classes as there are cells.

    The last, because a task of few labels is easier than one of many. A task of which a part of
    the split has no patch is left out.
    """
    cells = len(cache.identity.cells)
    split, labels = (cache.labels(name).reshape(-1, cells) for name in ("split", "class"))
    parts = split[:, 0]
    places = np.broadcast_to(np.arange(cells), split.shape)
    tasks = [Task("location", cells, places, parts)]
    classes = len(cache.identity.class_names)
    if classes:
        tasks.append(Task("class", classes, labels, parts))
    if 2 < cells < classes:
        kept = np.where(labels[:, 0] < cells, parts, -1)
        tasks.append(Task(f"class-{cells}", cells, labels, kept))
    return [t for t in tasks if all(len(t.patches(p)) for p in (TRAIN, HELD_OUT, TEST))]


def read_vectors(
    vectors: Floats,
    tasks: Sequence[Task],
    readings: Sequence[str],
    solvers: Sequence[str],
    *,
    seed: int,
) -> Iterator[Accuracies]:
    """Solve for every head of vectors (patches, cells, C), and score it on the test patches.

    Tasks of the same patches, and all solvers, share one Gram matrix a reading.
    """
    by_split: dict[bytes, list[Task]] = {}
    for task in tasks:
        by_split.setdefault(task.split.tobytes(), []).append(task)
    for name in readings:
        for group in by_split.values():
            seen = _Seen.of(vectors, group[0], READINGS[name], seed)
            for task in group:
                for solver in solvers:
                    yield Accuracies(task, name, solver, seen.accuracy(task, solver))


@dataclass(frozen=True)
class _Seen:
    """The images of a split as a reading shows them."""

    directions: Directions
    train: Tensor  # (n, r), along the directions
    heldout: Tensor
    tests: list[Tensor]  # one for each draw

    @classmethod
    def of(cls, vectors: Floats, task: Task, reading: Reading, seed: int) -> _Seen:
        train, heldout, test = (
            vectors[task.patches(part)].reshape(-1, vectors.shape[2])
            for part in (TRAIN, HELD_OUT, TEST)
        )
        directions = reading.directions(reading.see(train, seed, 0))
        draws = range(max(1, reading.draws))
        return cls(
            directions,
            directions.rows(reading.see(train, seed, 0)),
            directions.rows(reading.see(heldout, seed, 0)),
            [directions.rows(reading.see(test, seed, draw)) for draw in draws],
        )

    def accuracy(self, task: Task, solver: str) -> Floats:
        """Of every test patch at every cell, (test patches, cells)."""
        train, heldout, test = (
            task.labels[task.patches(part)].ravel() for part in (TRAIN, HELD_OUT, TEST)
        )
        head = SOLVERS[solver](
            self.directions, Part(self.train, train), Part(self.heldout, heldout), task.classes
        )
        credit = np.mean([head.credit(Part(rows, test)) for rows in self.tests], axis=0)
        return np.asarray(credit.reshape(-1, task.labels.shape[1]))
