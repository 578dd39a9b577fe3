"""What tells a file or folder from what it was before, without reading it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FRESH = 2 * 10**9  # ns; what is this young may change once more under the same time

Stamp = tuple[int, int, int, int]  # size, time of change (ns), time of any change (ns), inode
Stamps = NDArray[np.int64]  # (files, 4)

UNKNOWN: Stamp = (-1, -1, -1, -1)  # of what cannot be asked: it is the same as nothing


@dataclass(frozen=True, eq=False)
class Stamped:
    """Files or folders, relative to one folder, as they were at some time."""

    names: Sequence[str]
    stamps: Stamps

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Stamped)
            and list(self.names) == list(other.names)
            and np.array_equal(self.stamps, other.stamps)
        )

    @classmethod
    def nothing(cls) -> Stamped:
        """No file."""
        return cls([], np.empty((0, 4), np.int64))

    @classmethod
    def of(cls, stamps: Mapping[str, Sequence[int]], now: int) -> Stamped:
        """Those asked after `now` (ns); `UNKNOWN` where a later change need not show."""
        found = np.array(list(stamps.values()), np.int64).reshape(-1, 4)
        found[~settled(found, now)] = UNKNOWN
        return cls(list(stamps), found)

    def unchanged(self, root: Path) -> bool:
        """Whether each is below `root` what it was."""
        return bool(same(self.stamps, stamps_of(root, self.names)).all())


def stamp_of(status: os.stat_result) -> Stamp:
    """The stamp of one file or folder."""
    inode = status.st_ino & (2**63 - 1)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, inode


def stamps_of(root: Path, names: Sequence[str]) -> Stamps:
    """The stamp of everything in `names`, which are relative to `root`."""
    before = "" if root == Path() else f"{root}/"  # joining takes as long as asking
    numbers = chain.from_iterable(_ask(before + name) for name in names)
    return np.fromiter(numbers, np.int64, 4 * len(names)).reshape(-1, 4)


def same(before: Stamps, after: Stamps) -> NDArray[np.bool_]:
    """Which of them cannot have become others meanwhile."""
    known = (before != np.array(UNKNOWN)).any(axis=1)
    return np.logical_and((before == after).all(axis=1), known)


def settled(stamps: Stamps, now: int) -> NDArray[np.bool_]:
    """Which were old enough at `now` (ns) that any later change shows."""
    old = np.abs(now - stamps[:, 1:3]) > FRESH
    return np.logical_and(old[:, 0], old[:, 1])


def _ask(path: str) -> Stamp:
    try:
        return stamp_of(os.stat(path))
    except (OSError, ValueError):
        return UNKNOWN  # reading it says why
