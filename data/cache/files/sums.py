"""The file SHA256SUMS of a cache, as `sha256sum -c` reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from data.cache.files.members import SUMS, is_own
from data.tools.errors import UserError
from data.tools.files import read_bytes, write_text

_LINE = re.compile(r"([0-9a-f]{64})  ([^/\n]+)")


def write_sums(folder: Path, sums: Mapping[str, str]) -> None:
    """Write file name -> SHA-256 of every file of the cache."""
    write_text(folder / SUMS, "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)))


def read_sums(folder: Path) -> dict[str, str]:
    """File name -> SHA-256; `UserError` when the file is missing, damaged or names other files."""
    path = folder / SUMS
    try:
        lines = read_bytes(path).decode().splitlines()
    except (FileNotFoundError, UnicodeDecodeError):
        raise UserError(f"{path} is missing or damaged: run extract-features again") from None
    sums = {}
    for line in lines:
        match = _LINE.fullmatch(line)
        if not match or not is_own(match[2]) or match[2] == SUMS:
            raise UserError(
                f"{path} is damaged (the line {line[:80]!r} is of no file of a cache): "
                f"run extract-features --verify {folder}"
            )
        sums[match[2]] = match[1]
    return sums
