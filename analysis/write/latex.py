"""Tables as LaTeX (booktabs)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from analysis.labels import metric_label
from analysis.tables import cells
from analysis.tables.grid import Grid

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "–": "--",
    "†": r"\textdagger{}",
    "‡": r"\textdaggerdbl{}",
    "‖": r"\textbardbl{}",
    "§": r"\S{}",
    "¶": r"\P{}",
    "*": r"\textasteriskcentered{}",
    **{character: "\\" + character for character in "&%$#_{}"},
}
_DOCUMENT = r"""\documentclass[10pt]{article}
\usepackage[utf8]{inputenc}
\usepackage[T1]{fontenc}
\usepackage{textcomp}
\usepackage[a4paper,landscape,margin=15mm]{geometry}
\usepackage{booktabs,longtable}
\begin{document}
%s
\end{document}
"""


def escape(text: str) -> str:
    """Any text, as LaTeX prints it; characters that its plain fonts lack become `?`."""
    return "".join(_SPECIAL.get(character) or _plain(character) for character in text)


def _plain(character: str) -> str:
    # Latin-1 letters are in every font encoding; beyond, what a user's fonts hold is unknown.
    known = character.isascii() and character.isprintable()
    return character if known or "À" <= character <= "ÿ" else "?"


def latex(grids: Iterable[Grid]) -> str:
    """Fragments to `\\input` where booktabs and longtable are loaded, one per condition."""
    return "\n".join(_table(grid) for grid in grids)


def document(names: Iterable[str]) -> str:
    """A whole document that inputs the fragments called `names`."""
    return _DOCUMENT % "\n".join(f"\\input{{{name}}}" for name in names)


def _table(grid: Grid) -> str:
    labels, columns = len(grid.row_names) + 1, len(grid.columns)
    metrics = grid.metrics
    width = labels + len(metrics) * columns
    body = []
    for index, (row, found) in enumerate(grid.rows):
        body += [r"\addlinespace"] if index else []
        body += [" & ".join(line) + r" \\" for line in _lines(grid, row, found)]
    caption = escape(" ".join([f"{grid.title}.", *grid.provenance]))
    written = [line for _, found in grid.rows for _, line in cells.lines(found, grid)]
    texts = [text for line in written for text in line]
    notes = [escape(note) for note in cells.legend(texts)]
    group = rf" & \multicolumn{{{len(metrics)}}}{{c}}"
    groups = "".join(f"{group}{{{escape(column)}}}" for column in grid.columns)
    rules = "".join(
        rf"\cmidrule(lr){{{first}-{first + len(metrics) - 1}}}"
        for first in range(labels + 1, width + 1, len(metrics))
    )
    names = " & ".join(
        [*map(escape, grid.row_names), "", *([escape(metric_label(m)) for m in metrics] * columns)]
    )
    lines = [
        r"\begingroup\footnotesize\setlength{\tabcolsep}{4pt}",
        rf"\noindent {caption}",
        rf"\begin{{longtable}}{{{'l' * labels}{'r' * (width - labels)}}}",
        r"\toprule",
        " & " * (labels - 1) + groups + r" \\",
        rules,
        names + r" \\",
        r"\midrule\endhead",
        *body,
        r"\bottomrule",
        r"\end{longtable}",
        *(rf"\noindent {note}\par" for note in notes),
        r"\bigskip\endgroup",
    ]
    return "\n".join(lines) + "\n"


def _lines(grid: Grid, labels: tuple[str, ...], found: list[Any]) -> list[list[str]]:
    """The lines of one row, each a list of LaTeX cells."""
    names = [escape(label) for label in labels]
    lines = []
    for name, texts in cells.lines(found, grid):
        values = [_number(text) for text in texts]
        if name == cells.INTERVAL:
            values = [rf"{{\tiny {value}}}" for value in values]
        lines.append([*names, escape(name), *values])
        names = [""] * len(names)
    return lines


def _number(text: str) -> str:
    return escape(text).replace("-", "$-$") if text != cells.NOTHING else "--"
