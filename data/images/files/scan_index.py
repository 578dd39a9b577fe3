"""What was found in image files, kept in a file, so that no start has to read them all again."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import features

from data.images import decoding
from data.images.files import formats, metadata, rgb
from data.tools.errors import UserError
from data.tools.files import FileStamp, file_stamp, read_bytes, write_bytes
from data.tools.locks import FileLock
from data.tools.parallel import in_threads
from data.tools.terminal import say

KEPT_EVERY = 2**15  # files between two writings: what a killed look loses at most
FRESH = 2 * 10**9  # ns; a file this young may change once more under the same time
_TOGETHER = 2**10  # files asked for their stamps by one thread at a time
_GONE = (-1, -1, -1, -1)  # stamp of what cannot be asked

Stamps = NDArray[np.int64]  # (files, 4): size, time of change (ns), of any change (ns), inode


class Verdict(NamedTuple):
    """What one file was found to be."""

    sha256: str  # of its bytes; "" where it cannot be used
    reason: str = ""  # why it cannot be used; "" where it can
    lasting: bool = True  # whether the same file would be found the same again


class ScanIndex:
    """Verdicts on the files below one folder, by their names relative to it.

    One is believed as long as the file has its size, times and inode. The index is whole or absent
    under its name; one process at a time examines files, and the others take over what it found.
    An index that is damaged, or cannot be written, is a line on stderr and no more.
    """

    def __init__(self, scans: Path | None, root: Path, num_workers: int) -> None:
        """Read what is kept of `root`.

        Args:
            scans: folder of such files; None: nothing is kept.
            root: folder of the images; names may be absolute, too.
            num_workers: threads that examine files.
        """
        self._root, self._num_workers = root, num_workers
        name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
        self._path = None if scans is None else scans / f"{name}.npz"
        self._read_as: FileStamp = None
        self._kept = _Kept.nothing()
        self._read()

    def verdicts(
        self, names: Sequence[str], examine: Callable[[str], Verdict]
    ) -> Iterator[Verdict]:
        """The verdict on each file, in order; `examine` is called, in threads, for the unknown."""
        for start in range(0, len(names), KEPT_EVERY):
            part = names[start : start + KEPT_EVERY]
            found = self._kept.find(part, self._stamps(part))
            if None not in found:
                yield from (verdict for verdict in found if verdict is not None)
                continue
            with self._alone():
                self._read()  # another process may have been at work
                yield from self._examine(part, examine)

    def _examine(
        self, names: Sequence[str], examine: Callable[[str], Verdict]
    ) -> Iterator[Verdict]:
        stamps, now = self._stamps(names), time.time_ns()
        found = self._kept.find(names, stamps)
        unknown = [row for row, verdict in enumerate(found) if verdict is None]
        examined = in_threads(examine, [names[row] for row in unknown], self._num_workers)
        new: dict[int, Verdict] = {}
        try:
            for row, verdict in enumerate(found):
                if verdict is None:
                    verdict = new[row] = next(examined)
                yield verdict
        finally:  # also of a look that is interrupted
            after = self._stamps([names[row] for row in new])
            sure = _unchanged(stamps[list(new)], after, now).tolist()
            lasting = [
                row for row, same in zip(new, sure, strict=True) if same and new[row].lasting
            ]
            self._keep({names[row]: (stamps[row], new[row]) for row in lasting})

    def _keep(self, new: dict[str, tuple[NDArray[np.int64], Verdict]]) -> None:
        if not new or self._path is None:
            return
        self._kept = self._kept.with_new(new)
        try:
            write_bytes(self._path, self._kept.to_bytes())
            self._read_as = file_stamp(self._path)
        except (UserError, OSError) as error:
            self._give_up(error)

    def _read(self) -> None:
        """Take over the index as it is on the disk, where it is another than was read before."""
        if self._path is None:
            return
        try:
            found = file_stamp(self._path)
            if found is not None and found != self._read_as:
                self._read_as = found
                self._kept = _Kept.from_bytes(read_bytes(self._path))
        except Exception as error:  # anybody may have written there
            say(f"note: {self._path} is ignored, its images are examined again ({error})")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait until no other process examines these files, and keep it so."""
        if self._path is None:
            yield
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if not os.access(self._path.parent, os.W_OK):
                raise PermissionError(f"{self._path.parent} cannot be written")
        except OSError as error:
            self._give_up(error)
            yield
            return
        lock = FileLock(self._path.with_suffix(".lock"), needed=False)
        try:
            if not lock.take(wait=False):
                say(f"waiting for another process that examines the images of {self._root}")
                lock.take(wait=True)
            yield
        finally:
            lock.free()

    def _give_up(self, error: Exception) -> None:
        say(f"note: what was found in {self._root} is not kept for the next run: {error}")
        self._path = None

    def _stamps(self, names: Sequence[str]) -> Stamps:
        """Size, times and inode of every file; (files, 4) int64."""
        groups = [names[start : start + _TOGETHER] for start in range(0, len(names), _TOGETHER)]
        before = "" if self._root == Path() else f"{self._root}/"  # joining takes as long as asking

        def ask(group: Sequence[str]) -> Stamps:
            return np.array([_stamp(before + name) for name in group], np.int64)

        return np.concatenate([np.empty((0, 4), np.int64), *map(ask, groups)])


class _Kept(NamedTuple):
    """The content of an index."""

    rows: dict[str, int]  # name -> row
    stamps: Stamps
    sha256: str  # 64 digits a row
    reasons: dict[int, str]  # row -> why it cannot be used

    @classmethod
    def nothing(cls) -> _Kept:
        return cls({}, np.empty((0, 4), np.int64), "", {})

    def find(self, names: Sequence[str], stamps: Stamps) -> list[Verdict | None]:
        """The verdict on each file, where it is known and the file has not changed."""
        if not self.rows:
            return [None] * len(names)
        rows = np.array([self.rows.get(name, -1) for name in names])
        same = (rows >= 0) & (self.stamps[rows] == stamps).all(axis=1)
        return [
            self._verdict(row) if good else None
            for row, good in zip(rows.tolist(), same.tolist(), strict=True)
        ]

    def _verdict(self, row: int) -> Verdict:
        if row in self.reasons:
            return Verdict("", self.reasons[row])
        return Verdict(self.sha256[64 * row : 64 * row + 64])

    def with_new(self, new: dict[str, tuple[NDArray[np.int64], Verdict]]) -> _Kept:
        """The same with other verdicts added, or in place of those on the same names."""
        old = {name: row for name, row in self.rows.items() if name not in new}
        kept = list(old.values())
        verdicts = [self._verdict(row) for row in kept] + [verdict for _, verdict in new.values()]
        return _Kept(
            {name: row for row, name in enumerate([*old, *new])},
            np.concatenate([self.stamps[kept], [stamp for stamp, _ in new.values()]]),
            "".join(verdict.sha256 or "0" * 64 for verdict in verdicts),
            {row: verdict.reason for row, verdict in enumerate(verdicts) if verdict.reason},
        )

    def to_bytes(self) -> bytes:
        content = BytesIO()
        np.savez(  # with a checksum of each part, and no times
            content,
            decoder=np.frombuffer(_decoder(), np.uint8),
            names=np.frombuffer("\0".join(self.rows).encode(), np.uint8),
            stamps=self.stamps,
            sha256=np.frombuffer(bytes.fromhex(self.sha256), np.uint8),
            reasons=np.frombuffer(json.dumps(list(self.reasons.items())).encode(), np.uint8),
        )
        return content.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> _Kept:
        """What `to_bytes` made; nothing where other rules made it.

        Raises an `Exception` of some kind for anything else.
        """
        with np.load(BytesIO(content)) as parts:
            if parts["decoder"].tobytes() != _decoder():
                return cls.nothing()
            names = parts["names"].tobytes().decode().split("\0")
            reasons = dict(json.loads(parts["reasons"].tobytes()))
            kept = cls(
                {name: row for row, name in enumerate(names)},
                parts["stamps"],
                parts["sha256"].tobytes().hex(),
                reasons,
            )
        if kept.stamps.shape != (len(kept.rows), 4) or len(kept.sha256) != 64 * len(names):
            raise ValueError("its parts do not fit together")
        return kept


@lru_cache(1)
def _decoder() -> bytes:
    """What a verdict depends on besides the file: our rules, and what PIL can read here."""
    files = [module.__file__ for module in (decoding, formats, metadata, rgb)]
    rules = [Path(file).read_bytes() for file in files if file is not None]
    able = f"{PIL.__version__} {sorted(features.get_supported())}".encode()
    return hashlib.sha256(b"".join([*rules, able])).digest()


def _unchanged(before: Stamps, after: Stamps, now: int) -> NDArray[np.bool_]:
    """Which files, read after `now` and before `after`, cannot have become others meanwhile."""
    old = (np.abs(now - before[:, 1:3]) > FRESH).all(axis=1)
    return old & (before == after).all(axis=1) & (before != _GONE).all(axis=1)


def _stamp(path: str) -> tuple[int, int, int, int]:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return _GONE  # examining it says why
    inode = status.st_ino & (2**63 - 1)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, inode
