"""What figures show, in sentences with numbers: for those who cannot see them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from analysis.read.measured import in_table_order, shown_heads
from analysis.tables.cells import number
from data.targets import pattern_names

_MOST = 24  # in one text: the tables have every number

TARGETS = (
    "Position maps. H rises evenly from the left edge to the right one, V from the top to the "
    "bottom; G is a round hill, 1 in the middle and 0 in the corners; HS has two and a half "
    "periods of waves down the rows, VS as many across the columns."
)


def lines_in_words(figure: Figure) -> str:
    """Where every labelled line of a figure begins and ends, panel by panel."""
    panels = [axes for axes in figure.axes if axes.get_ylabel()]
    parts = [f"{axes.get_title('left')}: {line}" for axes in panels for line in _lines(axes)]
    what = panels[0].get_ylabel() if panels else ""
    return _joined(f"{what[:1].upper()}{what[1:]}", parts)


def scores_in_words(measured: pd.DataFrame, metric: str = "spc", *patterns: str) -> str:
    """Means over the natural images of the readouts that figures of maps show, run by run."""
    rows = shown_heads(measured)
    rows = in_table_order(rows[rows["images"] == "test"])
    parts = []
    for run, part in rows.groupby("run", sort=False):
        found = dict(part.drop_duplicates("pattern").set_index("pattern")[metric])
        shown = [p for p in patterns or pattern_names() if p in found]
        parts.append(f"{run}: {', '.join(f'{p} {number(found[p])}' for p in shown)}")
    return _joined(f"Mean {metric.upper()} on natural images", parts)


def _lines(axes: Axes) -> Iterator[str]:
    drawn: list[tuple[str, Any]] = [
        *((str(each.get_label()), each[0]) for each in axes.containers),
        *((str(line.get_label()), line) for line in axes.get_lines()),
    ]
    for label, line in drawn:
        x, y = np.asarray(line.get_xdata(orig=True)), np.asarray(line.get_ydata(), dtype=float)
        x, y = x[np.isfinite(y)], y[np.isfinite(y)]
        if label.startswith("_") or not len(y):
            continue
        ends = [f"{number(y[i])} at {_place(axes, x[i])}" for i in (0, -1)]
        yield f"{label} {' to '.join(dict.fromkeys(ends))}"


def _place(axes: Axes, x: Any) -> str:
    """The name of a place on the axis, or its number."""
    if isinstance(x, str):
        return x
    if isinstance(axes.xaxis.get_major_locator(), FixedLocator):
        names = [text.get_text() for text in axes.get_xticklabels()]
        near = int(np.abs(np.asarray(axes.get_xticks()) - float(x)).argmin())
        return names[near]
    return f"{float(x):.3g}"


def _joined(what: str, parts: Iterable[str]) -> str:
    texts = list(parts)
    more = f"; {len(texts) - _MOST} more are in the tables" if len(texts) > _MOST else ""
    return f"{what}. {'; '.join(texts[:_MOST])}{more}."
