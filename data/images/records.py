"""Records of very many images, made when they are asked for."""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate, repeat
from typing import overload

import numpy as np
from numpy.typing import NDArray

from data.images.names import Names
from data.images.source import ImageRecord

_DIGITS = 64  # of a SHA-256


class _Records(Sequence[ImageRecord]):
    """A sequence that is equal to any other of equal records."""

    @abstractmethod
    def _record(self, row: int) -> ImageRecord: ...

    @overload
    def __getitem__(self, index: int) -> ImageRecord: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[ImageRecord, ...]: ...

    def __getitem__(self, index: int | slice) -> ImageRecord | tuple[ImageRecord, ...]:
        rows = range(len(self))[index]
        return tuple(map(self._record, rows)) if isinstance(rows, range) else self._record(rows)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Sequence)
            and len(self) == len(other)
            and all(own == its for own, its in zip(self, other, strict=True))
        )

    __hash__ = None  # type: ignore[assignment]  # it would have to go through all


class SetRecords(_Records):
    """The records of one image set, in arrays."""

    def __init__(self, images: str, names: Names, sha256: NDArray[np.uint8]) -> None:
        """Of the set `images`; `sha256` is (len(names), 32)."""
        self.images, self._names, self._sha256 = images, names, sha256

    def __len__(self) -> int:
        return len(self._names)

    def _record(self, row: int) -> ImageRecord:
        return ImageRecord(self._names[row], self.images, self._sha256[row].tobytes().hex())

    def __iter__(self) -> Iterator[ImageRecord]:
        digits = self._sha256.tobytes().hex()
        hashes = (digits[at : at + _DIGITS] for at in range(0, len(digits), _DIGITS))
        return map(ImageRecord, self._names, repeat(self.images), hashes)


class StudyRecords(_Records):
    """The records of all sets, one set after the other."""

    def __init__(self, sets: Mapping[str, Sequence[ImageRecord]]) -> None:
        """Of image set -> its records, which are given the set's name."""
        self._sets = sets

    @cached_property
    def ends(self) -> list[int]:
        """The row after the last of each set."""
        return list(accumulate(map(len, self._sets.values())))

    def __len__(self) -> int:
        return self.ends[-1]

    def _record(self, row: int) -> ImageRecord:
        number = bisect_right(self.ends, row)
        images, records = list(self._sets.items())[number]
        start = self.ends[number - 1] if number else 0
        return _of_set(records[row - start], images)

    def __iter__(self) -> Iterator[ImageRecord]:
        for images, records in self._sets.items():
            if getattr(records, "images", None) == images:  # which saves half of the time
                yield from records
            else:
                yield from (_of_set(record, images) for record in records)


def _of_set(record: ImageRecord, images: str) -> ImageRecord:
    return record if record.images == images else record._replace(images=images)
