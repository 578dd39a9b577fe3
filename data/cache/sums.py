"""The file SHA256SUMS of a cache, as `sha256sum -c` reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from data.tools.errors import UserError
from data.tools.files import write_text

SUMS = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64})  ([^/\n]+)")


def write_sums(folder: Path, sums: Mapping[str, str]) -> None:
    """Write file name -> SHA-256 of every file of the cache."""
    write_text(folder / SUMS, "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)))


def read_sums(folder: Path) -> dict[str, str]:
    """File name -> SHA-256; `UserError` when the file is missing or damaged."""
    path = folder / SUMS
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, UnicodeDecodeError):
        raise UserError(f"{path} is missing or damaged: run extract-features again") from None
    matches = [_LINE.fullmatch(line) for line in lines]
    if not all(matches):
        raise UserError(f"{path} is damaged: run extract-features --verify {folder}")
    return {match[2]: match[1] for match in matches if match}
