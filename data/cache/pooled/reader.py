"""Reading a pooled cache, and proving it whole."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.cache.command import call_into
from data.cache.pooled.arrays import DamagedError, read_array
from data.cache.pooled.identity import PlacedIdentity
from data.cache.pooled.members import IDENTITY, POOLED
from data.tools.errors import UserError
from data.tools.files import read_bytes
from data.tools.hdf5 import open_hdf5, own_dataset
from data.tools.terminal import say

POOLINGS = ("mean", "max")
LABELS = ("patch", "cell", "class", "split")
_REMEDY = "run the extract-features --placed command that made it again, with --overwrite"


@dataclass(frozen=True)
class PooledCache:
    """A complete pooled cache; reading it raises `UserError` where it is not complete.

    Every array is compared with its checksum when it is read: `UserError` where it was changed.
    """

    folder: Path

    @cached_property
    def identity(self) -> PlacedIdentity:
        """What the cache was made from."""
        path = self.folder / POOLED
        if not path.exists():
            raise UserError(
                f"{self.folder} is no complete pooled cache: run the extract-features --placed "
                "command that made it again, it goes on where it stopped"
            )
        with open_hdf5(path) as file:
            try:
                return PlacedIdentity.from_json(json.loads(own_dataset(file, "identity")[()]))
            except (KeyError, ValueError, TypeError, RecursionError) as error:
                raise UserError(f"{path} is damaged: identity: {error}: {_REMEDY}") from None

    @property
    def levels(self) -> dict[str, int]:
        """Level -> channels; the first is the image itself."""
        return dict(self.identity.levels)

    def labels(self, name: str) -> NDArray[np.int64]:
        """`patch`, `cell`, `class` (-1: none) or `split` of every image, (N,)."""
        return self._read(name, (self._rows,)).astype(np.int64)

    def read(self, level: str, pooling: str) -> NDArray[np.float32]:
        """The pooled vectors of a level, (patches, cells, C) float32."""
        rows = self._read(f"{level}/{pooling}", (self._rows, self.levels[level]))
        return rows.reshape(self.identity.n_patches, len(self.identity.cells), -1)

    def damage(self) -> list[str]:
        """What is not as it was written, one line each."""
        return list(self._damage())

    @property
    def _rows(self) -> int:
        return self.identity.n_patches * len(self.identity.cells)

    def _damage(self) -> Iterator[str]:
        try:
            if read_identity(self.folder) != self.identity:
                yield f"{self.folder / IDENTITY} is not that of {POOLED}"
        except UserError as error:
            yield str(error)
            return
        for name in LABELS:
            yield from self._fault(name, (self._rows,))
        for level, channels in self.levels.items():
            for pooling in POOLINGS:
                yield from self._fault(f"{level}/{pooling}", (self._rows, channels))

    def _fault(self, name: str, shape: tuple[int, ...]) -> Iterator[str]:
        try:
            self._read(name, shape)
        except UserError as error:
            yield str(error)

    def _read(self, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
        path = self.folder / POOLED
        try:
            values = read_array(path, name)
            if values.shape != shape:
                raise DamagedError(f"{path} is damaged: {name} has another shape")
        except DamagedError as error:
            raise UserError(f"{error}: {_REMEDY}") from None
        return values


def is_pooled(folder: Path) -> bool:
    """Whether `folder` is a pooled cache, complete or not."""
    return (folder / IDENTITY).exists() or (folder / POOLED).exists()


def find_pooled(
    cache_dir: Path, *, mirrored: bool = False, shifted: bool = False
) -> list[PooledCache]:
    """Every pooled cache of a folder of caches, or the folder itself where it is one.

    Of images as they are, of `mirrored` ones, or of whole images under small shifts; none is not
    an error where there are others. What is incomplete or damaged is left out, with a line on
    stderr. `UserError` where there is none.
    """
    names = (IDENTITY, POOLED)
    folders = {path.parent for name in names for path in cache_dir.glob(f"*/{name}")}
    caches, faults = [], []
    for folder in [cache_dir] if is_pooled(cache_dir) else sorted(folders):
        cache = PooledCache(folder)
        try:
            cache.identity  # noqa: B018
            caches.append(cache)
        except UserError as error:
            faults.append(str(error))
    if not caches:
        none = f"no pooled cache in {cache_dir}: run extract-features --placed first"
        raise UserError(faults[0] if faults else none)
    for fault in faults:
        say(f"left out: {fault}")
    wanted = mirrored, shifted
    return [
        cache for cache in caches if (cache.identity.mirrored, cache.identity.is_shifted) == wanted
    ]


def pooled_calls(caches: Iterable[PooledCache]) -> list[str]:
    """The calls that made caches, where they lie."""
    return [call_into(cache.identity.command, cache.folder.parent) for cache in caches]


def read_identity(folder: Path) -> PlacedIdentity | None:
    """What the cache in `folder` is made from; None where nothing is begun."""
    path = folder / IDENTITY
    try:
        return PlacedIdentity.from_json(json.loads(read_bytes(path)))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}): {_REMEDY}") from None
