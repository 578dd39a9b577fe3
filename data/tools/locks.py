"""Keeping two processes off the same part of a cache, on one machine or over a network disk."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from data.tools.errors import UserError
from data.tools.terminal import say

LOCK = ".lock"
_SETUP_BYTE = 0  # byte of the lock file that stands for the cache as a whole; then the shards
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class CacheLocks:
    """Locks on single bytes of the file `.lock`: one for the whole cache, one for each shard.

    The system frees them when the process ends, however it ends. On a disk without locks a line
    on stderr says so, and the work goes on.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)

    def __enter__(self) -> CacheLocks:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)  # frees every lock

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Wait until no other process sets up or completes the cache, and keep it so."""
        try:
            self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB, _SETUP_BYTE)
        except (BlockingIOError, PermissionError):
            say(f"waiting for another process to set up {self.folder}")
            self._lock(fcntl.LOCK_EX, _SETUP_BYTE)
        try:
            yield
        finally:
            self._lock(fcntl.LOCK_UN, _SETUP_BYTE)

    @contextmanager
    def shards(self, shards: Sequence[int]) -> Iterator[None]:
        """Keep the shards to this process; `UserError` when another process has one of them."""
        taken = []
        try:
            for shard in shards:
                self._claim(shard)
                taken.append(shard)
            yield
        finally:
            for shard in taken:
                self._lock(fcntl.LOCK_UN, shard + 1)

    def _claim(self, shard: int) -> None:
        try:
            self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB, shard + 1)
        except (BlockingIOError, PermissionError):
            raise UserError(
                f"another process is extracting shard {shard} of {self.folder}: "
                "wait until it has ended, then run the same command again"
            ) from None

    def _lock(self, operation: int, byte: int) -> None:
        try:
            fcntl.lockf(self._descriptor, operation, 1, byte)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            if byte == _SETUP_BYTE and operation != fcntl.LOCK_UN:
                say(
                    f"warning: no locks available on the disk of {self.folder}: "
                    "make sure that no other process writes this cache"
                )
