"""What a cell of a table says, in every format: numbers as the sources print them, and marks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from analysis.read.published import REPRODUCTION
from analysis.tables.grid import Grid
from data.vocabulary import CONSTANT, DIVERGED, FALLING, UNDER_TRAINED

MISSING, UNDEFINED, NOTHING = "missing", "undefined", "–"
# Names of the lines of a row.
OURS, INTERVAL, DEVIATION = "ours", "95 %", "sd (seeds)"
PUBLISHED, DIFFERENCE = "published", "difference"

# mark -> what it says below the table
MARKS = {
    "†": "loss still falling when training ended: the readout could do better",
    "‖": "under-trained (too few steps, or worse than a readout inside it): judge no readout by it",
    "‡": "diverged: judge no readout by it",
    "§": "no better than a constant map",
    "¶": "SPC undefined for some images (constant output), mean over the others",
    "*": "fewer seeds, of readouts or of networks, than other heads of this block",
}
_STATUS_MARKS = {FALLING: "†", UNDER_TRAINED: "‖", DIVERGED: "‡", CONSTANT: "§"}


def number(value: float, *, signed: bool = False) -> str:
    """Three decimals without a leading zero, as the paper prints: `.742`, `-.001`, `1.000`.

    Percentages, from 2 on, get one decimal.
    """
    if not np.isfinite(value):
        return NOTHING
    if abs(value) >= 2:
        return f"{value:+.1f}" if signed else f"{value:.1f}"
    text = f"{value:+.3f}" if signed else f"{value:.3f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("0.", ".", 1) if text.lstrip("+-").startswith("0.") else text


def is_missing(cell: Any) -> bool:
    """Whether the cell was not measured."""
    return not cell.n_images > 0


def ours(cell: Any, metric: str) -> str:
    """Our value, with its marks; `missing` or `undefined` where there is none.

    A dash where nothing of ours may stand: no command would fill the cell.
    """
    if is_missing(cell):
        return MISSING if cell.fill else NOTHING
    value = getattr(cell, metric)
    text = number(value) if np.isfinite(value) else UNDEFINED
    return text + marks(cell, metric)


def marks(cell: Any, metric: str) -> str:
    """The footnote marks of our value."""
    if is_missing(cell):
        return ""
    found = _STATUS_MARKS.get(cell.status, "")
    if metric == "spc" and cell.n_undefined > 0 and np.isfinite(cell.spc):
        found += "¶"
    if cell.fill:
        found += "*"
    return found


def interval(cell: Any, metric: str) -> str:
    """The 95 % interval, `.871 to .896`; a dash where there is none."""
    low, high = getattr(cell, f"{metric}_low"), getattr(cell, f"{metric}_high")
    if not (np.isfinite(low) and np.isfinite(high)):
        return NOTHING
    return f"{number(low)} to {number(high)}"


def deviation(cell: Any, metric: str) -> str:
    """The standard deviation over seeds."""
    return number(getattr(cell, f"{metric}_sd"))


def published(cell: Any, metric: str, source: str) -> str:
    """The published value as its source prints it: undefined SPC is .0 or NaN.

    With its standard deviation, where the source gives one.
    """
    value, spread = (getattr(cell, f"published_{metric}{end}", np.nan) for end in ("", "_sd"))
    if np.isfinite(spread):
        return f"{number(value)} ± {number(spread)}"
    if np.isfinite(value):
        return ".0" if value == 0 else number(value)
    undefined = source == REPRODUCTION and metric == "spc" and np.isfinite(cell.published_mae)
    return "NaN" if undefined else NOTHING


def difference(cell: Any, metric: str) -> str:
    """Ours minus the published value."""
    return number(getattr(cell, f"{metric}_difference"), signed=True)


def lines(found: list[Any], grid: Grid, *, intervals: bool = True) -> list[tuple[str, list[str]]]:
    """What stands in one row of a table, line by line: a name, then each metric of every cell.

    `found` has None for cells that nobody asked for. Lines that would say nothing are left out:
    intervals where there are none, deviations of one seed, and the source's where it has nothing.
    """
    kinds: list[tuple[str, Callable[[Any, str], str]]] = [(OURS, ours)]
    if intervals:
        kinds += [(INTERVAL, interval), (DEVIATION, deviation)]
    if grid.table.source:
        kinds += [
            (PUBLISHED, lambda cell, metric: published(cell, metric, grid.table.source)),
            (DIFFERENCE, difference),
        ]
    written = [
        (name, [NOTHING if c is None else text(c, m) for c in found for m in grid.metrics])
        for name, text in kinds
    ]
    said = [(name, texts) for name, texts in written if set(texts) != {NOTHING}]
    return said or written[:1]


def legend(texts: list[str]) -> list[str]:
    """One line per mark that occurs in `texts`."""
    every = "".join(texts)
    return [f"{mark} {meaning}" for mark, meaning in MARKS.items() if mark in every]
