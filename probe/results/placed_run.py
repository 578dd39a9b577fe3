"""The results of one pooled cache, in a folder as that of any run, and all of them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from data.cache.identity import MAKING
from data.cache.pooled.identity import PlacedIdentity
from data.tools.errors import UserError
from data.tools.files import write_bytes
from data.tools.locks import locked
from data.tools.terminal import say
from probe.results.files import LOCK, changing, fault, listing, read_document, write_document
from probe.results.placed import PLACED, PLACED_COLUMNS, PLACED_KEY, PLACED_PATCHES
from probe.results.tables import RUN, csv_bytes, read_rows
from probe.results.writer import discard, tables_of_runs

_CACHE = "placed_cache"  # key of run.json
_WAYS_OUT = "choose another --results-dir, or --overwrite it"


def begin_placed(
    folder: Path, identity: PlacedIdentity, *, about: Mapping[str, str], overwrite: bool
) -> None:
    """Agree with the results in `folder`, or begin them.

    Raises `UserError`, with every difference, where they are of another cache.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / LOCK):
        damage = fault(folder)
        if damage:
            say(f"{folder}: {damage}: its heads are solved for again")
        if damage or overwrite:
            discard(folder)
        if listing(folder):
            _refuse_another(folder, identity)
        else:
            document = {_CACHE: identity.to_json(), "about": dict(about)}
            write_document(folder, document)


def finished_placed(folder: Path) -> set[str]:
    """The heads whose accuracies are there."""
    return set(read_rows(folder / PLACED)["head"])


def write_placed(
    folder: Path, rows: Sequence[Mapping[str, Any]], patches: Sequence[Mapping[str, Any]]
) -> None:
    """Add heads: rows of `placed.csv` and of `placed_patches.csv`, both with a column `head`."""
    heads = {str(row["head"]) for row in rows}
    with changing(folder) as files:
        files.replace_rows(PLACED_PATCHES, heads, [dict(row) for row in patches])
        files.replace_rows(PLACED, heads, [dict(row) for row in rows])


def write_all_placed(results_dir: Path) -> Path:
    """Join the accuracies of all runs in `results_dir`; the path of its `placed.csv`.

    `placed_patches.csv` goes first, so that whoever finds the one finds the other.
    """
    wanted = {PLACED_PATCHES: [*PLACED_KEY, "patch", "accuracy"], PLACED: PLACED_COLUMNS}
    with locked(results_dir / LOCK):
        for name, columns in wanted.items():
            table = pd.concat(tables_of_runs(results_dir, name)).fillna("")
            # Runs of an older version lack the newest columns.
            table = table.reindex(columns=[*columns, "head"], fill_value="")
            write_bytes(results_dir / name, csv_bytes(table))
    return results_dir / PLACED


def placed_identities(results_dir: Path) -> dict[str, PlacedIdentity]:
    """What the pooled cache of every run in `results_dir` was made from; `UserError` for damage."""
    found = {}
    for path in sorted(results_dir.glob(f"*/{RUN}")):
        document = read_document(path.parent) or {}
        if _CACHE in document:
            try:
                found[path.parent.name] = PlacedIdentity.from_json(document[_CACHE])
            except (ValueError, TypeError) as error:
                raise UserError(
                    f"{path} is damaged ({error}): remove {path.parent} and run train-probes again"
                ) from None
    return found


def _refuse_another(folder: Path, identity: PlacedIdentity) -> None:
    try:
        before = PlacedIdentity.from_json((read_document(folder) or {})[_CACHE])
    except (KeyError, ValueError, TypeError):
        raise UserError(
            f"{folder} holds other results than of a pooled cache: {_WAYS_OUT}"
        ) from None
    found = before.differences(identity, ignore=MAKING)
    if found:
        raise UserError(f"{folder} was made from another cache [{'; '.join(found)}]: {_WAYS_OUT}")
