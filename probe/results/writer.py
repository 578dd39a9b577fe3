"""The owner of a run's folder while a command trains its heads, and what it writes there.

Several commands may work on one run at a time, with the same settings: each keeps a pass of its
own, with a checkpoint, and adds its heads to the run's files under the run's lock.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from data.tools.errors import UserError
from data.tools.files import write_bytes
from data.tools.locks import FileLock, locked
from data.tools.terminal import say
from probe.results.files import (
    LISTED,
    LOCK,
    changing,
    fault,
    read_document,
    write_document,
)
from probe.results.heads import HeadResult, with_heads
from probe.results.run_settings import RunSettings
from probe.results.tables import (
    CURVE,
    HEADS,
    IMAGE_SCORES,
    LOSSES,
    RUN,
    SCORES,
    all_columns,
    csv_bytes,
    read_rows,
)

_PASS_LOCK = ".pass-{}.lock"  # held while a pass over the cache goes on


class ResultsWriter:
    """The folder of a run, kept for a pass over its cache until the end of the `with` block.

    `threads` is then the number that the run was begun with, if it was, else that of `settings` or
    the one given; `checkpoints` are the files to keep the state of a pass in, first those of passes
    that were interrupted. Raises `UserError` when the run's heads were made with other settings, or
    when another command is at work on it and the two cannot go on side by side.
    """

    def __init__(
        self, folder: Path, settings: RunSettings, *, threads: int, overwrite: bool = False
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.threads = threads
        self.overwrite = overwrite
        self.checkpoints: list[Path] = []
        self._passes: list[FileLock] = []

    def __enter__(self) -> ResultsWriter:
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / LOCK):
            try:
                self._begin(busy=self._claim_passes())
            except BaseException:
                self.__exit__()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        for lock in self._passes:
            lock.free()

    def finished_heads(self, *, control: bool = False, curve: bool = False) -> set[str]:
        """Names of the heads that are done; with their control, or with their learning curve."""
        table = read_rows(self.folder / SCORES)
        if control:
            known = table.get("control_spc", pd.Series("", index=table.index))
            table = table[known != ""]
        finished = set(table["head"])
        return finished & set(read_rows(self.folder / CURVE)["head"]) if curve else finished

    def note(self, command: str) -> None:
        """Add a call that trains heads of the run to those that its settings list."""
        with locked(self.folder / LOCK):
            document = read_document(self.folder) or self.settings.to_json()
            known = document.get("commands", [])
            if command not in known:
                write_document(self.folder, {**document, "commands": [*known, command]})

    def _claim_passes(self) -> bool:
        """Take the checkpoints that interrupted passes have left, or a new one.

        Whether another command is at work on the run.
        """
        known = len(list(self.folder.glob(_PASS_LOCK.format("*"))))
        free: list[tuple[FileLock, Path]] = []
        busy = False
        for number in itertools.count(1):
            if number > known and free:
                break
            lock = FileLock(self.folder / _PASS_LOCK.format(number))
            if lock.take(wait=False):
                free.append((lock, _checkpoint(self.folder, number)))
            else:
                lock.free()
                busy = True
        chosen = [each for each in free if each[1].exists()] or free[:1]
        self._passes = [lock for lock, _ in chosen]
        self.checkpoints = [checkpoint for _, checkpoint in chosen]
        for lock, _ in free:
            if lock not in self._passes:
                lock.free()
        return busy

    def _begin(self, busy: bool) -> None:
        """Compare the settings with those of the run, or make it a new one."""
        damage = fault(self.folder)
        if (damage or self.overwrite) and busy:
            raise UserError(
                f"another train-probes is at work on {self.folder}: wait until it has ended, "
                "then run the same command again"
            )
        if self.overwrite:
            discard(self.folder)
        elif damage:
            say(f"{self.folder}: {damage}: its heads are trained again")
            discard(self.folder)
        existing = read_settings(self.folder)
        differences = existing.differences(self.settings) if existing else ""
        if differences and (busy or _holds_something(self.folder)):
            raise _refusal(self.folder, differences, busy=busy)
        begun_with = existing.threads if existing and not differences else None
        self.threads = begun_with or self.settings.threads or self.threads
        if not begun_with:
            document = read_document(self.folder) or {}
            settings = replace(self.settings, threads=self.threads)
            write_document(self.folder, {**document, **settings.to_json()})


def read_settings(folder: Path) -> RunSettings | None:
    """What the run in `folder` was made with; None where there is no run.

    Raises `UserError` for a run of another version of this program.
    """
    document = read_document(folder)
    if document is None:
        return None
    try:
        return RunSettings.from_json(document)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{folder / RUN} is of another version of this program ({error}): choose another "
            "--results-dir, or --overwrite it"
        ) from None


def refuse_other_settings(folder: Path, settings: RunSettings) -> None:
    """Raise `UserError` where the heads of the run in `folder` were made with other settings."""
    existing = None if fault(folder) else read_settings(folder)
    differences = existing.differences(settings) if existing else ""
    if differences and _holds_something(folder):
        raise _refusal(folder, differences)


def discard(folder: Path) -> None:
    """Forget every head of a run; its settings last, so that none is left without them."""
    for name in reversed(LISTED):
        (folder / name).unlink(missing_ok=True)
    for checkpoint in folder.glob("checkpoint*.pt"):
        checkpoint.unlink()
    (folder / RUN).unlink(missing_ok=True)


def write_heads(folder: Path, results: list[HeadResult]) -> None:
    """Add heads to a run; a head that was there is replaced."""
    names = {result.spec.name for result in results}
    with changing(folder) as files:
        files.replace_rows(IMAGE_SCORES, names, (r for x in results for r in x.image_scores))
        files.replace_rows(LOSSES, names, (r for x in results for r in x.losses))
        files.replace(HEADS, with_heads(folder / HEADS, results))
        files.replace_rows(SCORES, names, (r for x in results for r in x.scores))


def write_curve(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Add rows to the learning curves of a run; those of a head that was there are replaced."""
    with changing(folder) as files:
        files.replace_rows(CURVE, {row["head"] for row in rows}, rows)


def write_gaps(folder: Path, gaps: dict[str, float]) -> None:
    """Fill the column `optimum_gap` of some heads of a run."""
    with changing(folder) as files:
        table = read_rows(folder / SCORES)
        known = table.get("optimum_gap", "")
        found = table["head"].map({head: f"{gap:.6g}" for head, gap in gaps.items()})
        table["optimum_gap"] = found.where(found.notna(), known)
        files.replace(SCORES, csv_bytes(table))


def write_all_scores(results_dir: Path) -> Path:
    """Join the scores of all runs into `results_dir/scores.csv`; returns its path.

    A copy of a run beside it is left out, with a line on stderr. Raises `UserError` when no run
    has a score.
    """
    target = results_dir / SCORES
    with locked(results_dir / LOCK):
        tables = tables_of_runs(results_dir, SCORES)
        if not tables:
            raise UserError(f"no head was trained, so {target} has nothing to hold")
        # Older runs lack the newer columns.
        table = pd.concat(tables).fillna("").reindex(columns=all_columns(tables), fill_value="")
        write_bytes(target, csv_bytes(table))
    return target


def tables_of_runs(results_dir: Path, name: str) -> list[pd.DataFrame]:
    """The tables `name` of all runs; what is no run of its own is left out, with a line."""
    folders = sorted(path.parent for path in results_dir.glob(f"*/{name}"))
    return [table for folder in folders if (table := _table_of(folder, name)) is not None]


def _table_of(folder: Path, name: str) -> pd.DataFrame | None:
    """A table of the run in `folder`; None where that is no run of its own."""
    if not (folder / RUN).exists():
        say(f"left out: {folder} holds scores, but no {RUN}")
        return None
    table = read_rows(folder / name)
    for run in table["run"].unique() if "run" in table else ():
        if run != folder.name and (folder.parent / run / RUN).exists():
            say(f"left out: {folder} is a copy of the run {run}")
            return None
    return table.assign(run=folder.name)


def _holds_something(folder: Path) -> bool:
    """Whether a run has a head, or a pass that has begun."""
    return (folder / SCORES).exists() or any(folder.glob("checkpoint*.pt"))


def _refusal(folder: Path, differences: str, *, busy: bool = False) -> UserError:
    if busy:
        return UserError(
            f"another train-probes is at work on {folder} with other settings ({differences}): "
            "choose another --results-dir, or wait until it has ended"
        )
    return UserError(
        f"{folder} was made with other settings ({differences}): choose another --results-dir, "
        "or --overwrite it"
    )


def _checkpoint(folder: Path, number: int) -> Path:
    return folder / ("checkpoint.pt" if number == 1 else f"checkpoint-{number}.pt")
