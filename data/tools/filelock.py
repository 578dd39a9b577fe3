"""Keeping other processes, and other threads, out of a file or folder for a while."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data.tools.terminal import say


class FileLock:
    """The system's lock on a file that exists for nothing else.

    It belongs to this object, not to the process: two of them keep each other out wherever they
    are. The system frees it when the process ends, however it ends. On a disk without locks a
    line on stderr says so, and the work goes on.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def take(self, *, wait: bool) -> bool:
        """Take the lock; False where another has it and this one is not to `wait`."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        except OSError as error:
            say(
                f"warning: no locks available on the disk of {self.path.parent} ({error.strerror})"
                ": make sure that no other process writes there"
            )
        return True

    def free(self) -> None:
        """Let go of the lock, if it was taken."""
        os.close(self._descriptor)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock on `path`, waiting for it as long as it takes."""
    lock = FileLock(path)
    try:
        lock.take(wait=True)
        yield
    finally:
        lock.free()
