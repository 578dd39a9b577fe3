"""The feature cache, read only: levels of every image, float16, from a folder of shards.

`cache.h5` in the folder opens with plain h5py as one file (docs/cache.md). This reader takes
its table of offsets and reads the shards' bytes straight into the caller's arrays.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from data.cache.command import extraction_command
from data.cache.files.manifest import describe_images
from data.cache.files.members import INDEX, shard_name
from data.cache.identity import Identity
from data.cache.index import COMPRESSED, read_index
from data.cache.shards import SHARD_IMAGES
from data.images.source import BadImage, ImageRecord
from data.protocols import is_of_today
from data.tools.errors import UserError
from data.tools.files import FileStamp, file_stamp, open_regular, sha256_of_open
from data.tools.hdf5 import own_dataset
from data.tools.settings import listed
from data.vocabulary import GRID

if TYPE_CHECKING:
    from data.cache.views import LevelDataset


@dataclass(frozen=True)
class Level:
    """One level over all images of a cache."""

    cache: FeatureCache
    name: str

    def __len__(self) -> int:
        return len(self.cache)

    def __getitem__(self, index: Any) -> NDArray[np.float16]:
        """Of an integer (C, 28, 28), of a slice or a list of rows (n, C, 28, 28); float16."""
        rows = np.arange(len(self))[index]
        return self.cache.read(self.name, np.atleast_1d(rows))[0 if np.ndim(rows) == 0 else ...]

    def __iter__(self) -> Iterator[NDArray[np.float16]]:
        return (self[row] for row in range(len(self)))


class OtherRecipeError(UserError):
    """A cache was made when its protocol meant something else."""

    def __init__(self, cache: FeatureCache) -> None:
        command = extraction_command(cache.identity, cache.folder.parent, overwrite=True)
        super().__init__(
            f"{cache.folder} was made by an earlier version, whose protocol "
            f"{cache.identity.protocol} gave other features: make it again, {command}"
        )


class FeatureCache:
    """A complete cache. Holds no open file: it can be copied to and used in any process."""

    def __init__(self, folder: Path) -> None:
        """Open `folder`.

        Raises `UserError` when it is no cache, incomplete, inconsistent, damaged in its index,
        of another schema version, or of a protocol that has come to mean something else.
        """
        self.folder = Path(folder)
        if self.folder.is_file():
            raise UserError(f"{folder} is a file: give the folder of the cache, {folder.parent}")
        opened = file_stamp(self.folder / INDEX)
        self._index = read_index(self.folder)
        if not is_of_today(self.identity.protocol, self.identity.features):
            raise OtherRecipeError(self)
        self._stamps = self._check()
        if file_stamp(self.folder / INDEX) != opened:
            raise self._overwritten(INDEX)

    @property
    def identity(self) -> Identity:
        """What the cache was made from."""
        return self._index.identity

    @property
    def levels(self) -> dict[str, int]:
        """Level -> channels, in the order they were extracted."""
        return self._index.levels

    @property
    def records(self) -> tuple[ImageRecord, ...]:
        """Row i of every level belongs to `records[i]`."""
        return self._index.records

    @property
    def bad(self) -> tuple[BadImage, ...]:
        """The images that could not be decoded, with reasons."""
        return self._index.bad

    @property
    def audit(self) -> dict[str, dict[str, float]]:
        """Level -> `max_magnitude` and `max_float16_error` over all images."""
        return self._index.audit

    @property
    def size(self) -> int:
        """Bytes of all shards."""
        return int(self._index.sizes.sum())

    @property
    def image_sets(self) -> tuple[str, ...]:
        """The image sets in the order of their rows: "train", those scored, black, white, noise."""
        return tuple(dict.fromkeys(record.images for record in self.records))

    def __len__(self) -> int:
        return len(self.records)

    @property
    def names(self) -> tuple[str, ...]:
        """The name of every image, in the order of the rows."""
        return tuple(record.name for record in self.records)

    def __getitem__(self, level: str) -> Level:
        """A level as a sequence over the images: `cache["f5"][3]` is (C, 28, 28) float16."""
        self._check_level(level)
        return Level(self, level)

    def dataset(self, level: str, images: str) -> LevelDataset:
        """One level of one image set as a `torch.utils.data.Dataset` of (C, 28, 28) float16.

        Raises `UserError` for an unknown level, and an image set that holds nothing.
        """
        from data.cache.views import LevelDataset

        self._check_level(level)
        rows = self.rows(images)
        if not len(rows):
            sets = ", ".join(self.identity.images.counts)
            raise UserError(f"no image of {self.folder} is in the set {images!r}: use {sets}")
        return LevelDataset(self, level, rows)

    def _check_level(self, level: str) -> None:
        if level not in self.levels:
            raise UserError(
                f"level {level!r} is not in {self.folder}: use {listed(level, tuple(self.levels))}"
            )

    def rows(self, images: str) -> NDArray[np.int64]:
        """The rows of one image set, ascending."""
        found = [row for row, record in enumerate(self.records) if record.images == images]
        return np.array(found, dtype=np.int64)

    def read(
        self,
        level: str,
        rows: NDArray[np.int64] | Sequence[int],
        out: NDArray[np.float16] | None = None,
    ) -> NDArray[np.float16]:
        """The features of `rows`, in their order: (len(rows), C, 28, 28) float16.

        `rows` may be in any order and repeat; `out`, if given, is filled and returned, and only
        its first axis may have gaps in memory. Raises `UserError` for an unknown level or a
        shard that cannot be read, `IndexError` for a row that does not exist.
        """
        self._check_level(level)
        rows = np.asarray(rows, dtype=np.int64)
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self.records):
            raise IndexError(f"rows go from 0 to {len(self.records) - 1}")
        shape = (len(rows), self.levels[level], GRID, GRID)
        if out is None:
            out = np.empty(shape, np.float16)
        assert (out.shape, out.dtype) == (shape, np.float16)
        order = np.argsort(rows, kind="stable")
        shards = rows[order] // SHARD_IMAGES
        for part in np.split(order, np.flatnonzero(np.diff(shards)) + 1):
            if len(part):
                self._read_shard(level, int(rows[part[0]] // SHARD_IMAGES), rows, part, out)
        return out

    def _read_shard(
        self,
        level: str,
        shard: int,
        rows: NDArray[np.int64],
        positions: NDArray[np.int64],
        out: NDArray[np.float16],
    ) -> None:
        """Fill `out[positions]` with `rows[positions]`, ascending and all in one shard."""
        path = self.folder / shard_name(shard)
        inside = rows[positions] - shard * SHARD_IMAGES
        offset = int(self._index.offsets[shard, list(self.levels).index(level)])
        try:
            with open_regular(path) as file:
                self._check_opened(shard, file)
                if offset == COMPRESSED:
                    targets = [out[position] for position in positions]
                    _read_compressed(file, level, inside, targets)
                    return
                runs = np.split(np.arange(len(inside)), np.flatnonzero(np.diff(inside) != 1) + 1)
                for run in runs:
                    targets = [out[position] for position in positions[run]]
                    start = offset + int(inside[run[0]]) * targets[0].nbytes
                    _read_into(file.fileno(), targets, start)
        except (OSError, KeyError, RuntimeError, ValueError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(
                f"{path} cannot be read ({error}): run extract-features --verify {self.folder}"
            ) from error

    def _check(self) -> list[FileStamp]:
        """The parts fit together: counts, and every shard there in its full size."""
        counts = describe_images(self.records)
        if counts != self.identity.images or len(self._index.checksums) != len(self.records):
            raise UserError(f"{self.folder}: the image table does not match the identity")
        stamps: list[FileStamp] = []
        for shard, size in enumerate(self._index.sizes):
            path = self.folder / shard_name(shard)
            stamp = file_stamp(path)
            if stamp is None or stamp[0] != size:
                state = "missing" if stamp is None else f"{stamp[0]} bytes long instead of {size}"
                raise UserError(
                    f"{path} is {state}: run the same extract-features again, it repairs the cache"
                )
            stamps.append(stamp)
        return stamps

    def _check_opened(self, shard: int, file: FileIO) -> None:
        """Raise `UserError` unless the open shard is the one that the index tells of."""
        stamp = file_stamp(file.fileno())
        if stamp == self._stamps[shard]:
            return
        # A copy, another machine's view of the disk, or a repair: the same bytes will do.
        name = shard_name(shard)
        if sha256_of_open(file) != self._index.sha256[shard]:
            raise self._overwritten(name)
        self._stamps[shard] = stamp

    def _overwritten(self, name: str) -> UserError:
        return UserError(
            f"{self.folder / name} is not the file that was opened: the cache was overwritten or "
            "changed meanwhile; wait until it is complete, then run the same command again"
        )


def _read_compressed(
    file: FileIO, level: str, rows: NDArray[np.int64], targets: list[NDArray[np.float16]]
) -> None:
    """Fill each of `targets` with the image of its row in the shard."""
    with h5py.File(file, "r") as shard:
        dataset = own_dataset(shard, level)
        for row, target in zip(rows, targets, strict=True):
            dataset.read_direct(target, np.s_[row])


def _read_into(descriptor: int, targets: list[NDArray[np.float16]], start: int) -> None:
    """Fill `targets` one after another from the file's bytes at `start`."""
    views = [target.data.cast("B") for target in targets]
    while views:  # once, unless the disk gives less than it is asked for
        done = os.preadv(descriptor, views, start)
        if not done:
            raise OSError("it ended early")
        start += done
        while views and done >= len(views[0]):
            done -= len(views.pop(0))
        if done:
            views[0] = views[0][done:]
