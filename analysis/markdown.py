"""Tables as Markdown that also reads well in a terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from analysis import cells
from analysis.tables import Grid

METRIC_NAMES = {"spc": "SPC", "mae": "MAE"}


def markdown(grid: Grid, *, intervals: bool = True) -> str:
    """One table: heading, rows of ours, published and difference, and what the marks mean.

    `intervals` adds a line with the 95 % intervals to every row, and one with the standard
    deviation over seeds where there are several.
    """
    header = [*grid.row_names, ""]
    for column in grid.columns:
        header += [f"{column} SPC", "MAE"]
    body = [line for row in grid.rows for line in _lines(grid, row, intervals)]
    parts = [heading(grid), "", aligned([header, *body], len(grid.row_names) + 1)]
    notes = cells.legend([text for line in body for text in line])
    parts += [""] if notes or grid.missing else []
    parts += [f"- {note}" for note in [*notes, *missing_notes(grid)]]
    return "\n".join(parts) + "\n"


def heading(grid: Grid) -> str:
    """What the table is and what our values were measured on."""
    layout = grid.layout
    return (
        f"### Table {layout.name}. {layout.title}\n\n"
        f"Ours: {plain(grid.condition)}.\n"
        f"Published: {layout.source}, ImageNet weights."
    )


def missing_notes(grid: Grid) -> list[str]:
    """One line per command that would fill what is missing."""
    return [
        f"{count} cell{'s' if count > 1 else ''} missing: `{plain(command)}`"
        for command, count in grid.missing.items()
    ]


def plain(text: str) -> str:
    """A name from outside in one line of Markdown that cannot end a cell or start a tag."""
    kept = "".join(character if character.isprintable() else "?" for character in text)
    return kept.replace("|", "\\|").replace("<", "&lt;")


def aligned(lines: list[list[str]], labels: int) -> str:
    """A Markdown table, its columns padded; the first `labels` are set left, the others right."""
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(lines[0]))]

    def row(line: list[str]) -> str:
        padded = [
            text.ljust(width) if index < labels else text.rjust(width)
            for index, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        return "| " + " | ".join(padded) + " |"

    rule = ["-" * w if i < labels else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    return "\n".join(row(line) for line in (lines[0], rule, *lines[1:]))


def _lines(grid: Grid, row: tuple[tuple[str, ...], list[Any]], intervals: bool) -> list[list[str]]:
    labels, found = row
    kinds: list[tuple[str, Callable[[Any, str], str]]] = [("ours", cells.ours)]
    if intervals:
        kinds.append(("95 %", cells.interval))
        if any(cell is not None and cell.n_seeds > 1 for cell in found):
            kinds.append(("sd (seeds)", cells.deviation))
    kinds.append(("published", lambda cell, m: cells.published(cell, m, grid.layout.source)))
    kinds.append(("difference", cells.difference))
    lines = []
    for index, (name, text) in enumerate(kinds):
        line = [*(plain(label) if index == 0 else "" for label in labels), name]
        for cell in found:
            line += [cells.NOTHING if cell is None else text(cell, m) for m in METRIC_NAMES]
        lines.append(line)
    return lines
