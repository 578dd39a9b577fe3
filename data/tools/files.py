"""Files that are either whole under their name or not there at all."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from data.tools.errors import UserError

PART = ".part"  # ending of a file that is still being written


def part_path(path: Path) -> Path:
    """Where `path` is written before it is renamed into place."""
    return path.with_name(path.name + PART)


def publish(path: Path) -> None:
    """Rename the finished `part_path(path)` to `path`, durable even through a power cut."""
    part = part_path(path)
    flush(part)
    os.replace(part, path)
    flush(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write `text` (UTF-8) to `path`, all of it or nothing."""
    part_path(path).write_text(text, encoding="utf-8", newline="\n")
    publish(path)


def check_writable(folder: Path, option: str) -> None:
    """Create `folder`; `UserError` naming `option` when nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial = folder / ".writable"
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise UserError(
            f"cannot write to {folder} ({error.strerror}): choose another {option}"
        ) from None


def flush(path: Path) -> None:
    """Return when what was written to the file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def forget_pages(path: Path) -> None:
    """Ask the system to drop a flushed file from its page cache: the next read is of the disk."""
    if not hasattr(os, "posix_fadvise"):  # not Linux
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """SHA-256 of the file's bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(2**20))
    with open(path, "rb", buffering=0) as file:
        while size := file.readinto(buffer):
            digest.update(buffer[:size])
    return digest.hexdigest()
