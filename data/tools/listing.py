"""Folders in a list: what each is called, how large it is, what state it is in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path


def folder_lines(
    folders: Sequence[Path], size: Callable[[Path], int], state: Callable[[Path], str]
) -> str:
    """A line for each folder: name, megabytes of `size` bytes, `state`."""
    width = max(len(folder.name) for folder in folders)
    return "\n".join(
        f"{folder.name:<{width}}  {size(folder) / 1e6:>10.1f} MB  {state(folder)}"
        for folder in folders
    )
