"""Names of very many files, in one string: they take their bytes and eight more each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import overload

import numpy as np
from numpy.typing import NDArray

_TOGETHER = 2**13  # names decoded at a time


class Names(Sequence[str]):
    """Strings without NUL, of which only those in use are objects of their own."""

    def __init__(self, joined: bytes, count: int) -> None:
        """Of what `joined` gives; `ValueError` where it does not hold `count` names."""
        self.joined = joined  # each in UTF-8 (bytes of names that are none are kept), NUL between
        content = np.frombuffer(joined + b"\0" if count else b"", np.uint8)
        self._starts: NDArray[np.int64] = np.append(0, np.flatnonzero(content == 0) + 1)
        if len(self._starts) != count + 1:
            raise ValueError(f"{len(self._starts) - 1} names instead of {count}")

    @classmethod
    def of(cls, names: Sequence[str]) -> Names:
        """The same names."""
        return cls("\0".join(names).encode("utf-8", "surrogateescape"), len(names))

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Names):
            return self.joined == other.joined and len(self) == len(other)
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # as of lists

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[row] for row in range(len(self))[index]]
        row = range(len(self))[index]
        return self._text(row, row + 1)

    def __iter__(self) -> Iterator[str]:
        borders = [*range(0, len(self), _TOGETHER), len(self)]
        for start, stop in pairwise(borders):
            yield from self._text(start, stop).split("\0")

    def _text(self, start: int, stop: int) -> str:
        part = self.joined[int(self._starts[start]) : int(self._starts[stop]) - 1]
        return part.decode("utf-8", "surrogateescape")

    def chosen(self, rows: NDArray[np.int64]) -> Names:
        """Some of them; `rows` in order."""
        if len(rows) == len(self):
            return self
        wanted = np.zeros(len(self), bool)
        wanted[rows] = True
        return Names.of([name for name, use in zip(self, wanted.tolist(), strict=True) if use])
