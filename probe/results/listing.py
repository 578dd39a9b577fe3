"""What a folder of results holds: its runs, and what they read, in a table."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from data.tools.errors import UserError
from data.tools.listing import folder_lines
from data.tools.printable import aligned
from probe.results.files import LISTED, fault
from probe.results.tables import RUN, SCORES, read_rows

_READOUT = ["kernel_size", "depth", "probe_padding"]


def runs_listing(results_dir: Path) -> str:
    """A line for each run below `results_dir`: name, megabytes, state.

    Raises `UserError` where there is none.
    """
    folders = sorted(path.parent for path in results_dir.glob(f"*/{RUN}"))
    if not folders:
        raise UserError(f"no run in {results_dir}: run train-probes first")
    return folder_lines(folders, _bytes, run_state)


def run_state(folder: Path) -> str:
    """How many heads are finished, whether a pass was interrupted, or what is wrong."""
    damage = fault(folder)
    if damage:
        return f"damaged: {damage}"
    heads = read_rows(folder / SCORES)["head"].nunique()
    begun = any(folder.glob("checkpoint*.pt"))
    return f"{heads} heads" + (", and a pass that is not finished" if begun else "")


def spc_table(scores: Path) -> str:
    """SPC on natural images by run and level (rows) and pattern (columns), seeds together.

    Readouts of several shapes have a row each. Empty where nothing has an SPC.
    """
    rows = read_rows(scores)
    if not {"images", "spc", "pattern"} <= set(rows) or (rows["spc"] == "").all():
        return ""
    rows = rows[rows["images"] == "test"]
    rows = rows.assign(spc=pd.to_numeric(rows["spc"], errors="coerce"))
    several = len(rows[_READOUT].drop_duplicates()) > 1
    names = ["run", "levels", *(_READOUT if several else [])]
    patterns = list(dict.fromkeys(rows["pattern"]))
    lines = []
    for key, part in rows.groupby(names):
        means = part.groupby("pattern")["spc"].mean()
        cells = [_cell(means[name]) if name in means else "" for name in patterns]
        lines.append([*map(str, key), *cells])
    header = [*(name.replace("_", " ") for name in names), *patterns]
    return "SPC on natural images:\n\n" + aligned([header, *lines], len(names)) + "\n"


def _cell(spc: float) -> str:
    return "undefined" if spc != spc else f"{spc:.3f}"


def _bytes(folder: Path) -> int:
    paths = [folder / name for name in (RUN, *LISTED)]
    return sum(path.stat().st_size for path in paths if path.exists())
