"""The commands that were given, to be given again."""

from __future__ import annotations

import shlex
from pathlib import Path

import pandas as pd

from analysis.read.results import Results
from analysis.tables.commands import extract_command, situation, train_command
from data.cache.command import DEFAULT_CACHES, cache_option
from data.tools.printable import printable
from probe.results import RunSettings


def commands_again(results: Results, measured: pd.DataFrame, tables: str) -> list[str]:
    """The calls that give these results again, in order; `tables` is the one of this stage.

    They are those that the caches and the runs have kept. Of runs that kept none (of an older
    version, or made from objects in Python) they are written from what is known of them.
    """
    extract: list[str] = []
    train: list[str] = []
    if measured.empty:
        return [tables]
    for _, part in measured.groupby("condition", sort=False):
        known = situation(part, results)
        runs = [results.runs[run] for run in part["run"].unique()]
        kept = [_extraction(run) for run in runs]
        written = [
            extract_command(backbone, padding, known, seed)
            for backbone, padding, seed in sorted(known.networks)
        ]
        extract += written if "" in kept else kept
        commands = [command for run in runs for command in run.commands]
        train += commands if all(run.commands for run in runs) else [train_command(known)]
    return list(dict.fromkeys([*extract, *train, tables]))


def _extraction(run: RunSettings) -> str:
    """The call that made the cache of a run, where it was; empty if the cache has kept none."""
    place = cache_option(Path(run.about.get("cache_dir", DEFAULT_CACHES)))
    command = run.cache.command
    return " ".join([command, *map(shlex.quote, place)]) if command else ""


def script(commands: list[str]) -> str:
    """The commands as a shell script; names never steer the terminal that shows it."""
    lines = ["set -e"]
    for command in commands:
        shown = printable(command)
        if shown != command:
            lines.append("# control characters of a name are shown as escapes: write it yourself")
        lines.append(shown)
    return "\n".join(lines) + "\n"
