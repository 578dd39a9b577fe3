"""The files of one run, changed together: whole before, whole after, and known to be either.

`run.json` lists the size and SHA-256 of every other file. While files are replaced it lists what
they were and what they will be, so that a run whose writer was killed half way is whole as well.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data.tools.errors import UserError
from data.tools.files import sha256_of, write_bytes
from data.tools.locks import locked
from probe.results.placed import PLACED, PLACED_PATCHES
from probe.results.tables import (
    CURVE,
    HEADS,
    IMAGE_SCORES,
    LOSSES,
    RUN,
    SCORES,
    as_text,
    csv_bytes,
    read_rows,
    replaced,
)

LOCK = ".lock"  # held while files of a run are read to be changed
LISTED = (
    IMAGE_SCORES,
    LOSSES,
    CURVE,
    HEADS,
    SCORES,
    PLACED_PATCHES,
    PLACED,
)  # in the order in which they are replaced
_NOW, _NEXT = "files", "next"  # keys of run.json: the files as they are, and as they will be


class RunFiles:
    """The files of the run in `folder`, with changes that `commit` writes together."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._changed: dict[str, bytes] = {}

    def replace_rows(self, name: str, heads: set[str], rows: Iterable[dict[str, Any]]) -> None:
        """Let one of the tables have `rows` instead of those of `heads`."""
        table = replaced(read_rows(self.folder / name), heads, as_text(rows))
        self.replace(name, csv_bytes(table))

    def replace(self, name: str, content: bytes) -> None:
        """Let one of the files have this content."""
        self._changed[name] = content

    def commit(self) -> None:
        """Write what was changed: first what will be, then the files, then what is."""
        document = read_document(self.folder) or {}
        before = listing(self.folder)
        after = before | {name: _described(content) for name, content in self._changed.items()}
        write_document(self.folder, {**document, _NOW: before, _NEXT: after})
        for name in LISTED:
            if name in self._changed:
                write_bytes(self.folder / name, self._changed[name])
        document.pop(_NEXT, None)
        write_document(self.folder, {**document, _NOW: after})


@contextmanager
def changing(folder: Path) -> Iterator[RunFiles]:
    """The files of a run, while no other process changes them; what was changed is written.

    Raises `UserError` when they are not as `run.json` lists them.
    """
    with locked(folder / LOCK):
        found = fault(folder)
        if found:
            raise UserError(f"{folder}: {found}: run the same train-probes again, it begins anew")
        files = RunFiles(folder)
        yield files
        files.commit()


def fault(folder: Path) -> str | None:
    """Why the files of a run are not as they were written; None where they are.

    A run of an older version, which lists no files, is taken to be whole when none is missing.
    """
    document = read_document(folder)
    found = listing(folder)
    if document is None:
        return f"{RUN} is missing or damaged" if found else None
    if _NOW not in document:
        needed = (IMAGE_SCORES, LOSSES, HEADS, SCORES) if SCORES in found else ()
        missing = [name for name in needed if name not in found]
        return f"{missing[0]} is missing" if missing else None
    for name in LISTED:
        allowed = [document[key].get(name) for key in (_NOW, _NEXT) if key in document]
        if found.get(name) not in allowed:
            return f"{name} is {'not as it was written' if name in found else 'missing'}"
    return None


def listing(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of every file of a run that there is, by name."""
    paths = [folder / name for name in LISTED]
    return {
        path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
        for path in paths
        if path.exists()
    }


def read_document(folder: Path) -> dict[str, Any] | None:
    """What `run.json` says, with the list of files; None where it is missing or damaged."""
    try:
        document = json.loads((folder / RUN).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def write_document(folder: Path, document: dict[str, Any]) -> None:
    """Write `run.json`."""
    write_bytes(folder / RUN, (json.dumps(document, indent=1) + "\n").encode())


def _described(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
