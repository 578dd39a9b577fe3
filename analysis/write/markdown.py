"""Tables as Markdown that also reads well in a terminal."""

from __future__ import annotations

import pandas as pd

from analysis.labels import metric_label
from analysis.tables import cells
from analysis.tables.grid import Grid
from analysis.tables.quality import QualityTable, quality_lines
from analysis.tables.summary import summary_labels, summary_lines, summary_title
from data.tools.printable import aligned, printable


def markdown(grid: Grid, *, intervals: bool = True) -> str:
    """One table: heading, rows of ours, published and difference, and what the marks mean.

    `intervals` adds a line with the 95 % intervals to every row, and one with the standard
    deviation over seeds where there are several.
    """
    header = [*grid.row_names, ""]
    for column in grid.columns:
        first, *others = (metric_label(metric) for metric in grid.metrics)
        header += [f"{plain(column)} {first}".rstrip(), *others]
    body = []
    for labels, found in grid.rows:
        names = [plain(label) for label in labels]
        for name, texts in cells.lines(found, grid, intervals=intervals):
            body.append([*names, name, *texts])
            names = [""] * len(names)
    parts = [
        f"### {grid.title}",
        "",
        *map(plain, grid.provenance),
        "",
        aligned([header, *body], len(grid.row_names) + 1),
    ]
    notes = cells.legend([text for line in body for text in line])
    parts += [""] if notes or grid.missing else []
    parts += [f"- {note}" for note in [*notes, *missing_notes(grid)]]
    return "\n".join(parts) + "\n"


def quality_markdown(table: QualityTable) -> str:
    """A table in Markdown."""
    lines = [[plain(text) for text in line] for line in quality_lines(table)]
    notes = [f"- {plain(note)}" for note in table.notes]
    return "\n".join(
        [f"### {table.title}", "", *notes, *([""] if notes else []), aligned(lines, 3), ""]
    )


def summary_markdown(measured: pd.DataFrame) -> str:
    """What was measured in one short table: run and level by pattern."""
    lines = [[plain(text) for text in line] for line in summary_lines(measured)]
    notes = cells.legend([text for line in lines for text in line])
    parts = [
        f"### What was measured: {summary_title(measured)}",
        "",
        aligned(lines, summary_labels(lines)),
    ]
    return "\n".join([*parts, *([""] if notes else []), *(f"- {note}" for note in notes), ""])


def missing_notes(grid: Grid) -> list[str]:
    """One line per command that would fill what is missing."""
    return [
        f"{count} cell{'s' if count > 1 else ''} missing: `{plain(command)}`"
        for command, count in grid.missing.items()
    ]


def plain(text: str) -> str:
    """A name from outside in one line of Markdown: it ends no cell and starts no tag or link."""
    return printable(text).replace("|", "\\|").replace("<", "&lt;").replace("[", "\\[")
