"""Keeping other processes, and other threads, out of a file or folder for a while."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar

from data.tools.terminal import say


class LockFile:
    """A file that exists to be locked, byte by byte; opened once for all threads of this process.

    The system frees the locks when the process ends, however it ends. They belong to the process:
    they keep no thread out, and all of them are gone as soon as one descriptor of the file is
    closed. So threads share the descriptor, and a table of what is held. On a disk without locks,
    or where the file cannot be had, a line on stderr says so, and the work goes on. Where two
    that do not keep each other out only do the same work twice (`needed` is off), none does.
    """

    _open: ClassVar[dict[tuple[int, Path], LockFile]] = {}  # by process: a fork has no lock
    _changed = threading.Condition()  # guards all that is mutable here

    def __init__(self, path: Path, *, needed: bool = True) -> None:
        self._path = path
        self._users = 0
        self._held: set[int] = set()
        self._warned = not needed
        self._descriptor: int | None = None
        try:
            # Not through a link: whoever may write here could have planted one.
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._descriptor = os.open(path, flags, 0o666)
        except OSError as error:
            self._warn(error)

    @classmethod
    def opened(cls, path: Path, *, needed: bool = True) -> LockFile:
        """The lock file at `path`, created where there is none; to be closed as often."""
        key = (os.getpid(), path.resolve())
        with cls._changed:
            if key not in cls._open:
                cls._open[key] = cls(path, needed=needed)
            cls._open[key]._users += 1
            return cls._open[key]

    def close(self) -> None:
        """Let go of the file; no lock that this user took may be held any more."""
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
            self._warn(error)
        return True

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            say(
                f"warning: no locks available on the disk of {self._path.parent} "
                f"({error.strerror}): make sure that no other process writes there"
            )
        self._warned = True


class FileLock:
    """The lock on a whole file; two of them keep each other out wherever they are."""

    def __init__(self, path: Path, *, needed: bool = True) -> None:
        self._file = LockFile.opened(path, needed=needed)
        self._taken = False

    def take(self, *, wait: bool) -> bool:
        """Take the lock; False where another has it and this one is not to `wait`."""
        self._taken = self._file.take(0, wait=wait)
        return self._taken

    def free(self) -> None:
        """Let go of the lock, if it was taken."""
        if self._taken:
            self._file.free(0)
        self._file.close()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock on `path`, waiting for it as long as it takes."""
    lock = FileLock(path)
    try:
        lock.take(wait=True)
        yield
    finally:
        lock.free()
