"""Which files of a folder tree are images: by their content, whatever they are called."""

from __future__ import annotations

import os
import stat
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data.images.files.formats import HEAD_BYTES, SUFFIXES, is_image
from data.images.files.stamps import Stamp, Stamped, stamp_of, stamps_of
from data.machine.faults import is_fault_of_the_file, with_retries
from data.tools.errors import UserError
from data.tools.parallel import in_threads
from data.tools.printable import printable

HIDDEN = "hidden"
OF_THE_SYSTEM = "of a storage system (thumbnails, ._ files)"
_NO_FILE = "no regular file"
_LOCKED = "that cannot be opened"
_LOCKED_FOLDER = "folders that cannot be opened"
_KINDS_SHOWN = 6

# Of Synology, QNAP, GNOME, macOS and Windows: previews, deleted files and their own lists.
_SYSTEM_FOLDERS = {
    *("@eadir", ".@__thumb", "@recycle", "#recycle", "#snapshot", ".thumbnails", "__macosx"),
    *(".appledouble", "$recycle.bin", "system volume information", "lost+found"),
}
_SYSTEM_FILES = {".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini", ".directory"}


@dataclass(frozen=True)
class Found:
    """What lies in a folder tree."""

    names: Sequence[str]  # of what looks like an image: relative, "/" between parts, sorted
    left_out: Counter[str] = field(default_factory=Counter)  # kind -> files
    folders: Stamped = field(default_factory=Stamped.nothing)  # all that were searched
    read: Stamped = field(default_factory=Stamped.nothing)  # files left out for their content

    def __str__(self) -> str:
        kinds = [f"{count} {printable(kind)}" for kind, count in self.left_out.most_common()]
        more = ["others"] if len(kinds) > _KINDS_SHOWN else []
        return f"{self.left_out.total()} files: " + ", ".join([*kinds[:_KINDS_SHOWN], *more])


def find_files(folder: Path, num_workers: int) -> Found:
    """All files below `folder` that are called images or begin as one; the rest is counted.

    Hidden files and those of storage systems are left out. Links are followed, but no folder is
    searched twice, so links in a circle come to an end. A folder that cannot be opened is listed
    like a file. Raises `UserError` when `folder` is none, or the disk fails for good.
    """
    try:
        return _find_files(folder, num_workers)
    except OSError as error:
        raise UserError(
            f"{error.filename or folder} cannot be read ({error.strerror or error}), in several "
            "attempts: mend the disk, then run the same command again"
        ) from error


def _find_files(folder: Path, num_workers: int) -> Found:
    if not folder.is_dir():
        reason = "is not a folder" if folder.exists() else "does not exist"
        raise UserError(f"image folder {str(folder)!r} {reason}: give a folder of images")
    now = time.time_ns()
    names: list[str] = []
    unclear: list[str] = []
    left_out: Counter[str] = Counter()
    folders: dict[str, Stamp] = {}
    for name, kind in _files(folder, "", None, folders, set()):
        if kind == _LOCKED_FOLDER or (kind is None and _suffix(name) in SUFFIXES):
            names.append(name)  # a folder is listed as bad later
        elif kind is not None:
            left_out[kind] += 1
        else:
            unclear.append(name)
    read = dict(zip(unclear, stamps_of(folder, unclear).tolist(), strict=True))
    kinds = in_threads(lambda name: _kind(folder / name), unclear, num_workers)
    for name, kind in zip(unclear, kinds, strict=True):
        if kind is None:
            names.append(name)
            del read[name]
        else:
            left_out[kind] += 1
    return Found(sorted(names), left_out, Stamped.of(folders, now), Stamped.of(read, now))


def _files(
    folder: Path,
    below: str,
    kind: str | None,
    folders: dict[str, Stamp],
    seen: set[tuple[int, int]],
) -> Iterator[tuple[str, str | None]]:
    """Every file with the kind that leaves it out; `kind` is that of the folder it lies in.

    `folders` is given the stamp of each as it was before it was searched.
    """
    path = folder / below
    try:
        status = with_retries(lambda: os.stat(path))
        if (status.st_dev, status.st_ino) in seen:
            return
        seen.add((status.st_dev, status.st_ino))
        folders[below or "."] = stamp_of(status)
        entries = with_retries(lambda: _entries(path))
    except OSError as error:
        if not is_fault_of_the_file(error):
            raise
        yield below or ".", kind or _LOCKED_FOLDER
        return
    for name, is_folder in entries:
        inside = f"{below}/{name}" if below else name
        own = kind or _kind_by_name(name, is_folder)
        if is_folder:
            yield from _files(folder, inside, own, folders, seen)
        else:
            yield inside, own


def _entries(path: Path) -> list[tuple[str, bool]]:
    """Names in a folder, sorted, and whether each is a folder."""
    with os.scandir(path) as entries:
        return sorted((entry.name, _is_folder(entry)) for entry in entries)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:  # a link to itself, for example
        if not is_fault_of_the_file(error):
            raise
        return False


def _kind_by_name(name: str, is_folder: bool) -> str | None:
    if name.lower() in (_SYSTEM_FOLDERS if is_folder else _SYSTEM_FILES) or name.startswith("._"):
        return OF_THE_SYSTEM
    return HIDDEN if name.startswith(".") else None


def _kind(path: Path) -> str | None:
    """None for a file that begins as an image does, else what it is counted as."""
    try:
        head = with_retries(lambda: _head(path))
    except OSError as error:
        if not is_fault_of_the_file(error):
            raise
        return _LOCKED
    if head is None:
        return _NO_FILE
    if is_image(head):
        return None
    suffix = _suffix(path.name)
    return suffix if suffix.isprintable() and 1 < len(suffix) <= 10 else "without an ending"


def _head(path: Path) -> bytes | None:
    if not stat.S_ISREG(path.stat().st_mode):  # opening a named pipe would wait for ever
        return None
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # pathlib takes ten times as long
