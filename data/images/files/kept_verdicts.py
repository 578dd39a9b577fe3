"""What an index of image files holds, in arrays: there may be millions."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data.images.files.stamps import UNKNOWN, Stamped, Stamps, same
from data.images.files.walk import Found
from data.images.names import Names


class Verdict(NamedTuple):
    """What one file was found to be."""

    sha256: str  # of its bytes; "" where it cannot be used
    reason: str = ""  # why it cannot be used; "" where it can
    lasting: bool = True  # whether the same file would be found the same again


@dataclass(frozen=True, eq=False)
class KeptVerdicts:
    """Verdicts on files and the stamps these had; where there is none the stamp is `UNKNOWN`."""

    names: Names
    stamps: Stamps  # (files, 4)
    sha256: NDArray[np.uint8]  # (files, 32)
    reasons: dict[int, str]  # row -> why it cannot be used
    found: Found | None = None  # the folder whose files these are, in its order

    @classmethod
    def nothing(cls, names: Names, found: Found | None = None) -> KeptVerdicts:
        """No verdict yet on files of these names."""
        stamps = np.full((len(names), 4), UNKNOWN, np.int64)
        return cls(names, stamps, np.zeros((len(names), 32), np.uint8), {}, found)

    @cached_property
    def rows(self) -> dict[str, int]:
        """Name -> row."""
        return {name: row for row, name in enumerate(self.names)}

    def find(self, names: Sequence[str], stamps: Stamps) -> list[Verdict | None]:
        """The verdict on each file, where it is known and the file has not changed."""
        if not len(self.names):
            return [None] * len(names)
        rows = np.array([self.rows.get(name, -1) for name in names])
        known = (rows >= 0) & same(self.stamps[rows], stamps)
        return [
            self._verdict(row) if good else None
            for row, good in zip(rows.tolist(), known.tolist(), strict=True)
        ]

    def _verdict(self, row: int) -> Verdict:
        if row in self.reasons:
            return Verdict("", self.reasons[row])
        return Verdict(self.sha256[row].tobytes().hex())

    def put(self, new: Mapping[str, tuple[NDArray[np.int64], Verdict]]) -> None:
        """Set stamps and verdicts of files that have a row."""
        for name, (stamp, verdict) in new.items():
            row = self.rows[name]
            self.stamps[row] = stamp
            self.reasons.pop(row, None)
            if verdict.reason:
                self.reasons[row] = verdict.reason
            else:
                self.sha256[row] = np.frombuffer(bytes.fromhex(verdict.sha256), np.uint8)

    def with_names(self, names: Sequence[str]) -> KeptVerdicts:
        """The same with rows for these files too."""
        new = [name for name in dict.fromkeys(names) if name not in self.rows]
        return self._over(Names.of([*self.names, *new])) if new else self

    def of_folder(self, found: Found) -> KeptVerdicts:
        """The same with rows for the files of a folder, in its order, and no others."""
        names = Names.of(found.names)
        return replace(self._over(names), found=replace(found, names=names))

    def _over(self, names: Names) -> KeptVerdicts:
        if names == self.names:
            return self
        other = KeptVerdicts.nothing(names)
        before = np.array([self.rows.get(name, -1) for name in names], np.int64)
        known = before >= 0
        other.stamps[known] = self.stamps[before[known]]
        other.sha256[known] = self.sha256[before[known]]
        after = dict(zip(before[known].tolist(), np.flatnonzero(known).tolist(), strict=True))
        kept = {after[row]: why for row, why in self.reasons.items() if row in after}
        return replace(other, reasons=kept)

    def write(self, file: IO[bytes], decoder: bytes) -> None:
        """Write all of it, with a checksum of each part; `decoder` is what the verdicts are of."""
        found = self.found or Found([])
        about = {
            "files": len(self.names),
            "reasons": list(self.reasons.items()),
            "left_out": dict(found.left_out),
            "folders": len(found.folders.names),
            "read": len(found.read.names),
        }
        np.savez(
            file,
            decoder=np.frombuffer(decoder, np.uint8),
            about=np.frombuffer(json.dumps(about).encode(), np.uint8),
            names=np.frombuffer(self.names.joined, np.uint8),
            stamps=self.stamps,
            sha256=self.sha256,
            folders=np.frombuffer(Names.of(found.folders.names).joined, np.uint8),
            folder_stamps=found.folders.stamps,
            read=np.frombuffer(Names.of(found.read.names).joined, np.uint8),
            read_stamps=found.read.stamps,
        )

    @classmethod
    def read(cls, file: Any, decoder: bytes) -> KeptVerdicts:
        """What `write` wrote; nothing where another decoder's verdicts are in the file.

        Raises an `Exception` of some kind for anything else.
        """
        with np.load(file) as parts:
            if parts["decoder"].tobytes() != decoder:
                return cls.nothing(Names.of([]))
            about = json.loads(parts["about"].tobytes())
            names = Names(parts["names"].tobytes(), about["files"])
            stamps, sha256 = parts["stamps"], parts["sha256"]
            folders = _stamped(parts, "folders", "folder_stamps", about["folders"])
            read = _stamped(parts, "read", "read_stamps", about["read"])
        left_out: Counter[str] = Counter(about["left_out"])
        reasons = {int(row): str(reason) for row, reason in about["reasons"]}
        fits = (stamps.shape, stamps.dtype) == ((len(names), 4), np.int64)
        fits &= (sha256.shape, sha256.dtype) == ((len(names), 32), np.uint8)
        if not fits or not all(0 <= row < len(names) for row in reasons):
            raise ValueError("its parts do not fit together")
        found = Found(names, left_out, folders, read) if len(folders.names) else None
        return cls(names, stamps, sha256, reasons, found)


def _stamped(parts: Any, names: str, stamps: str, count: int) -> Stamped:
    kept = Stamped(Names(parts[names].tobytes(), count), parts[stamps])
    if (kept.stamps.shape, kept.stamps.dtype) != ((count, 4), np.int64):
        raise ValueError("its parts do not fit together")
    return kept
