"""Files that are either whole under their name or not there at all."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO, FileIO
from pathlib import Path
from typing import IO, Any

from data.tools.errors import UserError

PART = ".part"  # ending of a file that is still being written, or that a killed run left
ABANDONED = 24 * 3600  # seconds after which a part that nobody has touched is a leftover
_FULL = (errno.ENOSPC, errno.EDQUOT)
_CANNOT_FLUSH = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)  # CIFS, FUSE, some network disks


@contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """A new binary file that becomes `path`, whole, when the block ends without an exception.

    Until then it has a name of its own in the same folder, which no other process can have or
    guess; on any exception it is removed, and what was at `path` stays. Raises `UserError` when
    the disk refuses or is full.
    """
    with reported(path):
        _remove_abandoned(path)
        part = create_part(path)
        try:
            with open(part, "r+b") as file:
                yield file
            publish(part, path)
        except BaseException:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write `content` to `path`, all of it or nothing; `UserError` as by `writing`."""
    with writing(path) as file:
        file.write(content)


def write_text(path: Path, text: str) -> None:
    """Write `text` (UTF-8) to `path`, all of it or nothing; `UserError` as by `writing`."""
    write_bytes(path, text.encode("utf-8"))


def write_torch(path: Path, content: Any) -> None:
    """Write what `torch.save` makes of `content`, all of it or nothing; raises as `writing`."""
    import torch

    buffer = BytesIO()  # torch itself says nothing of a full disk
    torch.save(content, buffer)
    write_bytes(path, buffer.getbuffer())


def create_part(path: Path) -> Path:
    """Create the empty file that `publish` will rename to `path`.

    Exclusively and under an unguessable name: a link planted in a shared folder is never
    written through, and two processes never write the same file. Raises `OSError`.
    """
    part = path.with_name(f"{_stem(path)}.{secrets.token_hex(8)}{PART}")
    with open(part, "xb"):
        return part


def _stem(path: Path) -> str:
    return path.name[:40]  # enough to recognise; the whole could make a name that is too long


def _remove_abandoned(path: Path) -> None:
    """Remove what killed runs left of `path`: parts that nobody has touched for a day."""
    ours = re.compile(rf"{re.escape(_stem(path))}\.[0-9a-f]{{16}}{re.escape(PART)}")
    for part in path.parent.glob(f"*{PART}"):
        with suppress(OSError):
            if ours.fullmatch(part.name) and time.time() - part.lstat().st_mtime > ABANDONED:
                part.unlink()


def publish(part: Path, path: Path) -> None:
    """Rename the finished `part` to `path`, durable even through a power cut. Raises `OSError`."""
    flush(part)
    os.replace(part, path)
    with suppress(OSError):  # the file is whole under its name; some disks cannot flush a folder
        flush(path.parent)


@contextmanager
def reported(path: Path, option: str = "folder") -> Iterator[None]:
    """Turn an `OSError` of writing `path` into a `UserError` with path, reason and remedy."""
    try:
        yield
    except OSError as error:
        # Errors of writing carry the name of our own file or none; others are not ours to tell.
        if error.filename and Path(os.fsdecode(error.filename)).parent != path.parent:
            raise
        if error.errno in _FULL:
            raise UserError(
                f"cannot write {path}: no space left on its disk; free some, or choose another "
                f"{option}"
            ) from error
        raise UserError(
            f"cannot write {path} ({error.strerror or error}): mend that, or choose another "
            f"{option}"
        ) from error


def check_writable(folder: Path, option: str) -> None:
    """Create `folder`; `UserError` naming `option` when nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        create_part(folder / "writable").unlink()
    except OSError as error:
        raise UserError(
            f"cannot write to {folder} ({error.strerror}): choose another {option}"
        ) from None


def flush(path: Path) -> None:
    """Return when what was written to the file or folder is on the disk, where it can tell."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_FLUSH:
            raise
    finally:
        os.close(descriptor)


def forget_pages(path: Path) -> None:
    """Ask the system to drop a flushed file from its page cache: the next read is of the disk."""
    if not hasattr(os, "posix_fadvise"):  # not Linux
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # some disks take no advice, and it is no more than that
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


FileStamp = tuple[int, int, int] | None  # size, time of change (ns), inode; None: no such file


def file_stamp(file: Path | int) -> FileStamp:
    """What tells a file from another under its name, without reading it. Raises `OSError`."""
    try:
        status = os.stat(file)
    except FileNotFoundError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino


def open_regular(path: Path) -> FileIO:
    """A file open for reading, without a buffer.

    Raises `UserError` for what is no regular file - a pipe would be waited for without end, and
    a device may do anything - and `OSError` when it cannot be opened.
    """
    special = UserError(f"{path} is no regular file but a folder, pipe or device: remove it")
    try:
        file = FileIO(path, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))
    except IsADirectoryError:
        raise special from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise special
    return file


def read_bytes(path: Path) -> bytes:
    """The content of a file; raises as `open_regular`."""
    with open_regular(path) as file:
        return file.readall()


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits; raises as `open_regular`."""
    with open_regular(path) as file:
        return sha256_of_open(file)


def sha256_of_open(file: FileIO) -> str:
    """SHA-256 of what is left to read of an open file."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(2**20))
    while size := file.readinto(buffer):
        digest.update(buffer[:size])
    return digest.hexdigest()
