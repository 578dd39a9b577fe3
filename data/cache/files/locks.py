"""Keeping two processes, or threads, off the same part of a cache; also over a network disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from data.tools.errors import UserError
from data.tools.locks import LockFile
from data.tools.terminal import say

LOCK = ".lock"
_SETUP_BYTE = 0  # byte of the lock file that stands for the cache as a whole; then the shards


class CacheLocks:
    """Locks on single bytes of the file `.lock`: one for the whole cache, one for each shard."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = LockFile.opened(folder / LOCK)

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
                        "wait until it has ended, then run the command again"
                    )
                taken.append(shard)
            yield
        finally:
            for shard in taken:
                self._file.free(shard + 1)
