"""The commands that were given, to be given again."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from analysis.read.results import Results
from analysis.tables.commands import extract_command, situation, train_command
from data.cache.command import DEFAULT_CACHES, call_into
from data.calls import read_calls
from data.tools.printable import printable
from probe.results import RunSettings

_NETWORKS = "train-backbone "  # whose weights may be those of a cache


def commands_again(results: Results, measured: pd.DataFrame, tables: str) -> list[str]:
    """The calls that give these results again, in order; `tables` is the one of this stage.

    They are those that the caches, the runs and the folder have kept. Of runs that kept none (of
    an older version, or made from objects in Python) they are written from what is known of them.
    """
    extract: list[str] = []
    train: list[str] = []
    kept_calls = read_calls(results.folder)
    networks = [call for call in kept_calls if call.startswith(_NETWORKS)]
    others = [call for call in kept_calls if not call.startswith(_NETWORKS)]
    if measured.empty:
        return [*networks, *others, tables]
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
    return list(dict.fromkeys([*networks, *extract, *train, *others, tables]))


def _extraction(run: RunSettings) -> str:
    """The call that made the cache of a run, where it was; empty if the cache has kept none."""
    return call_into(run.cache.command, Path(run.about.get("cache_dir", DEFAULT_CACHES)))


def script(commands: list[str]) -> str:
    """The commands as a shell script; names never steer the terminal that shows it."""
    lines = ["set -e"]
    for command in commands:
        shown = printable(command)
        if shown != command:
            lines.append("# control characters of a name are shown as escapes: write it yourself")
        lines.append(shown)
    return "\n".join(lines) + "\n"
