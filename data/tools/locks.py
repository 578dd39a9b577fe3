"""Keeping two processes, or threads, off the same part of a cache; also over a network disk."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar

from data.tools.errors import UserError
from data.tools.terminal import say

LOCK = ".lock"
_SETUP_BYTE = 0  # byte of the lock file that stands for the cache as a whole; then the shards


class CacheLocks:
    """Locks on single bytes of the file `.lock`: one for the whole cache, one for each shard.

    The system frees them when the process ends, however it ends. On a disk without locks, or
    where the file cannot be had, a line on stderr says so, and the work goes on.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = _LockFile.opened(folder / LOCK)

    def __enter__(self) -> CacheLocks:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the lock file; no lock may be held any more."""
        self._file.close()

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Wait until no other process sets up or completes the cache, and keep it so."""
        if not self._file.take(_SETUP_BYTE):
            say(f"waiting for another process to set up {self.folder}")
            self._file.take(_SETUP_BYTE, wait=True)
        try:
            yield
        finally:
            self._file.free(_SETUP_BYTE)

    @contextmanager
    def shards(self, shards: Sequence[int]) -> Iterator[None]:
        """Keep the shards to this caller; `UserError` when another has one of them."""
        taken = []
        try:
            for shard in shards:
                if not self._file.take(shard + 1):
                    raise UserError(
                        f"another process is extracting shard {shard} of {self.folder}: "
                        "wait until it has ended, then run the same command again"
                    )
                taken.append(shard)
            yield
        finally:
            for shard in taken:
                self._file.free(shard + 1)


class _LockFile:
    """The lock file of one folder, opened once for all threads of this process.

    Locks belong to the process: they keep no thread out, and all of them are gone as soon as one
    descriptor of the file is closed. So threads share the descriptor, and a table of what is held.
    """

    _open: ClassVar[dict[tuple[int, Path], _LockFile]] = {}  # by process: a fork has no lock
    _changed = threading.Condition()  # guards all that is mutable here

    def __init__(self, path: Path) -> None:
        self._path = path
        self._users = 0
        self._held: set[int] = set()
        self._descriptor: int | None = None
        try:
            # Not through a link: whoever may write here could have planted one.
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._descriptor = os.open(path, flags, 0o666)
        except OSError as error:
            self._warn(error)

    @classmethod
    def opened(cls, path: Path) -> _LockFile:
        key = (os.getpid(), path.resolve())
        with cls._changed:
            if key not in cls._open:
                cls._open[key] = cls(path)
            cls._open[key]._users += 1
            return cls._open[key]

    def close(self) -> None:
        with self._changed:
            self._users -= 1
            if self._users == 0:
                self._open.pop((os.getpid(), self._path.resolve()), None)
                if self._descriptor is not None:
                    os.close(self._descriptor)

    def take(self, byte: int, *, wait: bool = False) -> bool:
        """Lock the byte; False when another thread or process has it and `wait` is off."""
        with self._changed:
            while byte in self._held:
                if not wait:
                    return False
                self._changed.wait()
            self._held.add(byte)
        if self._lock(fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB, byte):
            return True
        self._forget(byte)
        return False

    def free(self, byte: int) -> None:
        """Unlock a byte that `take` locked."""
        if self._descriptor is not None:
            with suppress(OSError):
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, byte)
        self._forget(byte)

    def _forget(self, byte: int) -> None:
        with self._changed:
            self._held.discard(byte)
            self._changed.notify_all()

    def _lock(self, operation: int, byte: int) -> bool:
        if self._descriptor is None:
            return True
        try:
            fcntl.lockf(self._descriptor, operation, 1, byte)
        except (BlockingIOError, PermissionError):
            return False
        except OSError as error:  # each disk says in its own way that it has none
            if byte == _SETUP_BYTE:
                self._warn(error)
        return True

    def _warn(self, error: OSError) -> None:
        say(
            f"warning: no locks available on the disk of {self._path.parent} ({error.strerror}): "
            "make sure that no other process writes this cache"
        )
