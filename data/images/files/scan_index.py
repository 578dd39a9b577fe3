"""What was found in image files, kept in a file, so that no start has to read them all again."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import features

from data.images import decoding
from data.images.files import formats, metadata, rgb, walk
from data.images.files.kept_verdicts import KeptVerdicts, Verdict
from data.images.files.stamps import UNKNOWN, Stamped, Stamps, same, settled, stamps_of
from data.images.files.walk import Found
from data.images.names import Names
from data.tools.errors import UserError
from data.tools.files import FileStamp, file_stamp, open_regular, writing
from data.tools.locks import FileLock
from data.tools.parallel import in_threads
from data.tools.terminal import say

KEPT_EVERY = 2**15  # files between two writings: what a killed look loses at most


class Remembered(NamedTuple):
    """What a folder held when all in it was last looked at."""

    found: Found
    good: Names  # of the images, in order
    sha256: NDArray[np.uint8]  # (images, 32)
    stamps: Stamps  # (images, 4)
    bad: list[tuple[str, str]]  # name and reason of what cannot be used


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
        self._found: Found | None = None
        self._kept = KeptVerdicts.nothing(Names.of([]))
        self._read()

    def remembered(self, limit: int | None) -> Remembered | None:
        """What the folder holds, up to `limit` images, though no image is asked whether it changed.

        None unless every folder, and every file that is no image, is what it was when all files
        were looked at: where one was added, removed or renamed, its folder has another time.
        """
        kept, found = self._kept, self._kept.found
        if found is None or not (
            found.folders.unchanged(self._root) and found.read.unchanged(self._root)
        ):
            return None
        good = np.ones(len(kept.names), bool)
        good[list(kept.reasons)] = False
        used = good.cumsum() - good < (len(good) if limit is None else limit)
        bad = sorted(row for row in kept.reasons if used[row])
        refused = Stamped([kept.names[row] for row in bad], kept.stamps[bad])
        if (kept.stamps[used] == UNKNOWN).all(axis=1).any() or not refused.unchanged(self._root):
            return None
        rows = np.flatnonzero(good & used)
        return Remembered(
            found,
            kept.names.chosen(rows),
            kept.sha256[rows],
            kept.stamps[rows],
            [(kept.names[row], kept.reasons[row]) for row in bad],
        )

    def hold(self, found: Found) -> None:
        """Keep, with the verdicts, what was found in the folder: `remembered` will tell."""
        self._found = found
        if self._path is None or self._kept.found == found:
            return
        with self._alone():
            self._read()
            if self._kept.found != found:
                self._take_over([])
                self._write()

    def verdicts(
        self, names: Sequence[str], examine: Callable[[str], Verdict]
    ) -> Iterator[Verdict]:
        """The verdict on each file, in order; `examine` is called, in threads, for the unknown."""
        for start in range(0, len(names), KEPT_EVERY):
            part = names[start : start + KEPT_EVERY]
            found = self._kept.find(part, stamps_of(self._root, part))
            if None not in found:
                yield from (verdict for verdict in found if verdict is not None)
                continue
            with self._alone():
                self._read()  # another process may have been at work
                self._take_over(names)
                yield from self._examine(part, examine)

    def _examine(
        self, names: Sequence[str], examine: Callable[[str], Verdict]
    ) -> Iterator[Verdict]:
        stamps, now = stamps_of(self._root, names), time.time_ns()
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
            after = stamps_of(self._root, [names[row] for row in new])
            sure = same(stamps[list(new)], after) & settled(after, now)
            lasting = [
                row for row, good in zip(new, sure, strict=True) if good and new[row].lasting
            ]
            self._keep({names[row]: (stamps[row], new[row]) for row in lasting})

    def _keep(self, new: dict[str, tuple[NDArray[np.int64], Verdict]]) -> None:
        if new and self._path is not None:
            self._kept.put(new)
            self._write()

    def _take_over(self, names: Sequence[str]) -> None:
        """Give every file a row: those of the folder in its order, or `names` beside the others."""
        if self._found is not None:
            self._kept = self._kept.of_folder(self._found)
        else:
            self._kept = self._kept.with_names(names)

    def _write(self) -> None:
        if self._path is None:
            return
        try:
            with writing(self._path) as file:
                self._kept.write(file, _decoder())
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
                with open_regular(self._path) as file:
                    self._kept = KeptVerdicts.read(file, _decoder())
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


@lru_cache(1)
def _decoder() -> bytes:
    """What a verdict depends on besides the file: our rules, and what PIL can read here."""
    files = [module.__file__ for module in (decoding, formats, metadata, rgb, walk)]
    rules = [Path(file).read_bytes() for file in files if file is not None]
    able = f"{PIL.__version__} {sorted(features.get_supported())}".encode()
    return hashlib.sha256(b"".join([*rules, able])).digest()
