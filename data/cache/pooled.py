"""The pooled cache: mean and maximum of every tap's own map, of every placed image.

A folder with `placed.json`, what it was made from, and `pooled.h5`: datasets `<level>/mean` and
`<level>/max`, (N, C) float32, and `patch`, `cell`, `class`, `split`, (N,). Until it is complete it
holds `block-*.h5`, each whole under its name, so that a killed extraction goes on where it was.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from data.cache.placed_identity import PlacedIdentity
from data.tools.errors import UserError
from data.tools.files import write_bytes, write_text
from data.tools.hdf5 import open_hdf5

IDENTITY, POOLED = "placed.json", "pooled.h5"
POOLINGS = ("mean", "max")
LABELS = {"patch": "<i4", "cell": "<i2", "class": "<i2", "split": "<u1"}

Arrays = Mapping[str, NDArray[Any]]  # "f1/mean", ..., "patch", ... -> (N, ...)


@dataclass(frozen=True)
class PooledCache:
    """A complete pooled cache, opened; raises `UserError` where it is not complete."""

    folder: Path

    def __post_init__(self) -> None:
        if not (self.folder / POOLED).exists():
            raise UserError(
                f"{self.folder} is no complete pooled cache: run the extract-features --placed "
                "command that made it again, it goes on where it stopped"
            )

    @cached_property
    def identity(self) -> PlacedIdentity:
        """What the cache was made from."""
        identity = read_identity(self.folder)
        if identity is None:
            raise UserError(f"{self.folder} has no {IDENTITY}: extract again with --overwrite")
        return identity

    @property
    def levels(self) -> dict[str, int]:
        """Level -> channels; the first is the image itself."""
        return dict(self.identity.levels)

    def labels(self, name: str) -> NDArray[np.int64]:
        """`patch`, `cell`, `class` (-1: none) or `split` of every image, (N,)."""
        with open_hdf5(self.folder / POOLED) as file:
            return file[name][()].astype(np.int64)

    def read(self, level: str, pooling: str) -> NDArray[np.float32]:
        """The pooled vectors of a level, (patches, cells, C) float32."""
        with open_hdf5(self.folder / POOLED) as file:
            rows = file[f"{level}/{pooling}"][()]
        return rows.reshape(-1, len(self.identity.cells), rows.shape[1])

    def damage(self) -> list[str]:
        """The datasets whose bytes are not those that were written."""
        with open_hdf5(self.folder / POOLED) as file:
            names = [*LABELS, *(f"{level}/{p}" for level in self.levels for p in POOLINGS)]
            return [
                name
                for name in names
                if name not in file or _checksum(file[name][()]) != file[name].attrs["crc32"]
            ]


def is_pooled(folder: Path) -> bool:
    """Whether `folder` is a pooled cache, complete or not."""
    return (folder / IDENTITY).exists()


def find_pooled(cache_dir: Path) -> list[PooledCache]:
    """Every pooled cache of a folder of caches; `UserError` where one is incomplete."""
    return [PooledCache(path.parent) for path in sorted(cache_dir.glob(f"*/{IDENTITY}"))]


def read_identity(folder: Path) -> PlacedIdentity | None:
    """What the cache in `folder` is made from; None where nothing is begun."""
    path = folder / IDENTITY
    if not path.exists():
        return None
    try:
        return PlacedIdentity.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}): extract again with --overwrite") from None


def settle_identity(folder: Path, identity: PlacedIdentity) -> None:
    """Begin a cache, or agree with the one begun; `UserError` names every difference."""
    before = read_identity(folder)
    if before is None:
        write_text(folder / IDENTITY, json.dumps(identity.to_json(), indent=1) + "\n")
        return
    found = before.differences(identity)
    if found:
        raise UserError(
            f"{folder} was made from something else [{'; '.join(found)}]: give --overwrite to "
            "make it again, or another --cache-dir to keep both"
        )


def block_path(folder: Path, block: int) -> Path:
    """File of a block of whole patches."""
    return folder / f"block-{block:05d}.h5"


def block_exists(folder: Path, block: int) -> bool:
    """Whether a block is there and reads as it was written."""
    path = block_path(folder, block)
    try:
        with open_hdf5(path) as file:
            names = json.loads(file.attrs["datasets"])
            return all(_checksum(file[n][()]) == file[n].attrs["crc32"] for n in names)
    except (OSError, KeyError, UserError):
        return False


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Arrays in a file of their own, each with its checksum: whole, or not there.

    Built in memory, because HDF5 crashes over a file whose disk is full.
    """
    buffer = BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["datasets"] = json.dumps(list(arrays))
        for name, values in arrays.items():
            file[name] = values
            file[name].attrs["crc32"] = np.uint32(_checksum(values))
    write_bytes(path, buffer.getbuffer())


def join_blocks(folder: Path, blocks: Sequence[int]) -> None:
    """Make `pooled.h5` of all blocks, in order, and remove them."""
    parts = []
    for block in blocks:
        with open_hdf5(block_path(folder, block)) as file:
            parts.append({name: file[name][()] for name in json.loads(file.attrs["datasets"])})
    write_arrays(
        folder / POOLED, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    )
    remove_blocks(folder)


def remove_blocks(folder: Path) -> None:
    """Remove what a complete cache does not need."""
    for path in folder.glob("block-*.h5*"):
        path.unlink()


def _checksum(values: NDArray[Any]) -> int:
    return zlib.crc32(np.ascontiguousarray(values).tobytes())
