"""A pooled cache on its way: begun, filled block by block, completed, or made again."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.cache.files.locks import CacheLocks
from data.cache.files.members import CALIBRATION
from data.cache.identity import MAKING, Calibration
from data.cache.pooled.arrays import (
    Arrays,
    Column,
    array_names,
    read_array,
    write_arrays,
    write_columns,
)
from data.cache.pooled.identity import PlacedIdentity
from data.cache.pooled.members import (
    IDENTITY,
    POOLED,
    block_path,
    block_paths,
    pooled_files,
    remove_leftovers,
)
from data.cache.pooled.reader import POOLINGS, PooledCache, read_identity
from data.tools.errors import UserError
from data.tools.files import read_bytes, reported, write_bytes, write_text

_LABEL_BYTES = 9  # of patch, cell, class and split of one image
_FILE_OVERHEAD = 2**15  # bytes of a file besides its values, at most
_WAYS_OUT = "give --overwrite to make it again, or another --cache-dir to keep both"

# Measures the statistics of an untrained network: what the identity says of them, and their file.
Measure = Callable[[], tuple[Calibration, bytes]]


class PooledWriter:
    """Owns the folder of a pooled cache for as long as the `with` block lasts.

    A second process that is to write there waits. `identity` is what the cache is to be made
    from; once `settle` is done, it is what it is made from.
    """

    def __init__(self, folder: Path, identity: PlacedIdentity) -> None:
        self.folder = folder
        self.identity = identity
        self._held = ExitStack()

    def __enter__(self) -> PooledWriter:
        with reported(self.folder, "--cache-dir"):
            self.folder.mkdir(parents=True, exist_ok=True)
        self._held.enter_context(self._held.enter_context(CacheLocks(self.folder)).whole())
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def is_complete(self) -> bool:
        """Whether the folder holds this cache, every byte as it was written.

        Raises `UserError` when it was made from something else, with every difference, or is
        damaged: it is never made again unasked.
        """
        if not (self.folder / POOLED).exists():
            return False
        cache = PooledCache(self.folder)
        self._refuse_differences(cache.identity, (*MAKING, "calibration"))
        damage = cache.damage()
        if damage:
            raise UserError("; ".join(damage))
        return True

    def settle(self, measure: Measure | None, audit: Callable[[], PlacedIdentity]) -> bytes | None:
        """Agree with the unfinished cache in the folder, or begin one; its statistics.

        `measure` is called for a network whose statistics have to be estimated, `audit` for what
        is measured of a network and kept with the cache. Raises `UserError`, with every
        difference, when work on another cache is in the folder.
        """
        before = read_identity(self.folder)
        if before is not None and not block_paths(self.folder):
            before = None  # nothing would be mixed
        if before is not None:
            self._refuse_differences(before, ("calibration",))
        self._check_space(self.identity if before is None else before)
        statistics = self._statistics(before, measure)
        if before is not None:
            self.identity = replace(before, calibration=self.identity.calibration)
            return statistics
        self.identity = replace(audit(), calibration=self.identity.calibration)
        if statistics is not None:
            write_bytes(self.folder / CALIBRATION, statistics)
        write_text(self.folder / IDENTITY, json.dumps(self.identity.to_json(), indent=1) + "\n")
        return statistics

    def discard(self) -> None:
        """Delete whatever pooled cache is in the folder; raises before anything is deleted."""
        freed = sum(path.lstat().st_size for path in pooled_files(self.folder))
        self._check_space(self.identity, freed)
        with reported(self.folder / POOLED, "--cache-dir"):
            for path in pooled_files(self.folder):
                path.unlink(missing_ok=True)

    def missing(self, blocks: Sequence[int]) -> list[int]:
        """Those of `blocks` that are not there, or not as they were written."""
        return [block for block in blocks if not self._is_whole(block)]

    def write(self, block: int, arrays: Arrays) -> None:
        """Keep a block of whole patches."""
        write_arrays(block_path(self.folder, block), arrays, self.identity.digest)

    def complete(self, blocks: Sequence[int]) -> None:
        """Make `pooled.h5` of the blocks, in order, and remove them."""
        paths = [block_path(self.folder, block) for block in blocks]
        columns = [_column(paths, name) for name in array_names(paths[0], self.identity.digest)]
        with reported(self.folder / POOLED, "--cache-dir"):
            write_columns(self.folder / POOLED, columns, json.dumps(self.identity.to_json()))
        for path in block_paths(self.folder):
            path.unlink()
        remove_leftovers(self.folder)

    def _is_whole(self, block: int) -> bool:
        path = block_path(self.folder, block)
        try:
            for name in array_names(path, self.identity.digest):
                read_array(path, name)
        except (OSError, UserError):
            return False
        return True

    def _statistics(self, before: PlacedIdentity | None, measure: Measure | None) -> bytes | None:
        """The statistics to work with; what they are is then in `identity`."""
        if measure is None:
            return None
        if before is not None and before.calibration is not None:
            with suppress(OSError):
                content = read_bytes(self.folder / CALIBRATION)
                if hashlib.sha256(content).hexdigest() == before.calibration.sha256:
                    self.identity = replace(self.identity, calibration=before.calibration)
                    return content
        calibration, content = measure()
        if before is not None and before.calibration != calibration:
            raise UserError(
                f"the BatchNorm statistics of {self.folder} are lost and come out differently on "
                "this machine: give --overwrite to make the cache again"
            )
        self.identity = replace(self.identity, calibration=calibration)
        return content

    def _refuse_differences(self, before: PlacedIdentity, ignore: Iterable[str]) -> None:
        found = before.differences(self.identity, ignore=ignore)
        if found:
            raise UserError(
                f"{self.folder} was made from something else [{'; '.join(found)}]: {_WAYS_OUT}"
            )

    def _check_space(self, identity: PlacedIdentity, freed: int = 0) -> None:
        whole = values_bytes(identity) + _FILE_OVERHEAD
        done = sum(path.stat().st_size for path in block_paths(self.folder))
        # The blocks, and the whole beside them until they are removed.
        needed = 2 * whole - done
        free = shutil.disk_usage(self.folder).free + freed
        if needed > free:
            raise UserError(
                f"{self.folder} needs {needed / 1e9:.3g} GB more and its disk has "
                f"{free / 1e9:.3g} GB free: free some, give another --cache-dir, or take fewer "
                "patches (--patch-limit)"
            )


def values_bytes(identity: PlacedIdentity) -> int:
    """Bytes of the arrays of a pooled cache: float32 vectors, and the labels of every image."""
    image = len(POOLINGS) * 4 * sum(identity.levels.values()) + _LABEL_BYTES
    return identity.n_patches * len(identity.cells) * image


def _column(paths: Sequence[Path], name: str) -> Column:
    first = read_array(paths[0], name)
    rows = len(first) * (len(paths) - 1) + len(read_array(paths[-1], name))

    def parts() -> Iterable[NDArray[np.generic]]:
        return (read_array(path, name) for path in paths)

    return Column(name, (rows, *first.shape[1:]), first.dtype, parts)
