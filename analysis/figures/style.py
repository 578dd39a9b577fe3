"""One look for every figure: Okabe-Ito colours, markers that tell lines apart in grey, no clutter.

Figures are made with matplotlib's objects, never with pyplot: no global state, no window, nothing
to close.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from data.tools.files import write_bytes
from data.tools.printable import printable

INK, SOFT, RULE = "#1a1a1a", "#595959", "#d0d0d0"
# Okabe and Ito (2008), darkest first: they differ in grey too, and the markers and dashes more so.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":")
# What the backbone's convolutions see beyond the border.
PADDING_DASHES: dict[str, Any] = {
    "zeros": "-",
    "-": "-",
    "none": (0, (1, 1.2)),
    "reflect": (0, (5, 1.5)),
    "replicate": (0, (5, 1.5, 1, 1.5)),
    "circular": (0, (5, 1.5, 1, 1.5, 1, 1.5)),
}
OTHER_DASHES: Any = (0, (9, 2))
LINE_PANEL_INCHES = (3.3, 2.7)

_SETTINGS: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.labelsize": 8,
    "axes.labelcolor": INK,
    "axes.edgecolor": SOFT,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.5,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "figure.facecolor": "white",
    "image.interpolation": "nearest",
    "savefig.dpi": 160,
    "svg.hashsalt": "position-probes",
    "text.parse_math": False,  # names are data: a $ in one is a dollar sign
}


@dataclass(frozen=True)
class LineLook:
    """How one series is drawn."""

    color: str
    marker: str
    linestyle: Any  # matplotlib's


def line_look(index: int) -> LineLook:
    """The look of the series `index`: colour, marker and dash change together."""
    return LineLook(
        COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)], DASHES[index % len(DASHES)]
    )


def looks_of(rows: pd.DataFrame) -> dict[str, LineLook]:
    """The look of every run in `rows`: colour means the backbone and its weights, dash the padding.

    Markers tell apart what has the same of both.
    """
    runs = rows.drop_duplicates("run")
    networks = list(dict.fromkeys(zip(runs["backbone"], runs["weights"], strict=True)))
    return {
        row.run: LineLook(
            COLOURS[networks.index((row.backbone, row.weights)) % len(COLOURS)],
            MARKERS[index % len(MARKERS)],
            PADDING_DASHES.get(row.backbone_padding, OTHER_DASHES),
        )
        for index, row in enumerate(runs.itertuples())
    }


def draw_series(
    panel: Axes, x: Any, y: Any, appearance: LineLook, label: str, **options: Any
) -> None:
    """A line through some points; `options` are matplotlib's."""
    panel.plot(
        x,
        y,
        color=appearance.color,
        linestyle=appearance.linestyle,
        marker=appearance.marker,
        label=label,
        **options,
    )


PUBLISHED_LOOK: dict[str, Any] = {
    "color": SOFT,
    "linestyle": (0, (1, 1.5)),
    "markerfacecolor": "white",
}


def drawn(figure: Figure, kind: str) -> bytes:
    """The file of `figure` as "pdf", "png" or "svg"; the same figure gives the same bytes."""
    undated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}[kind]
    file = io.BytesIO()
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_text("\n".join(map(printable, text.get_text().split("\n"))))
    with look(), warnings.catch_warnings():
        # A name in letters that the font lacks is drawn with boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(file, format=kind, metadata=undated)
    return file.getvalue()


def save(figure: Figure, target: Path | IO[bytes], kind: str) -> None:
    """Write `figure` as "pdf", "png" or "svg": a file at a path is there whole or not at all."""
    content = drawn(figure, kind)
    if isinstance(target, Path):
        write_bytes(target, content)
    else:
        target.write(content)


@contextmanager
def look() -> Iterator[None]:
    """The settings under which figures are made and saved, whatever a matplotlibrc says."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield


def line_panels(
    titles: list[str], *, columns: int = 3, sharex: bool = True, sharey: bool = True
) -> tuple[Figure, list[Axes]]:
    """A figure with one panel of lines per title."""
    columns = min(columns, len(titles))
    rows = -(-len(titles) // columns)
    width, height = LINE_PANEL_INCHES
    figure = Figure(figsize=(width * columns, height * rows + 0.5), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey)
    panels = list(grid.ravel())
    for panel, title in zip(panels, titles, strict=False):
        panel.set_title(title, loc="left")
    for panel in panels[len(titles) :]:
        panel.remove()
    return figure, panels[: len(titles)]


def common_legend(figure: Figure, panels: list[Axes], order: list[str], columns: int) -> None:
    """One legend above all panels, each label once, in the given order, filled by columns."""
    found: dict[str, Any] = {}
    for panel in panels:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            found.setdefault(str(label), handle)
    labels = [label for label in order if label in found]
    handles = [found[label] for label in labels]
    figure.legend(handles, labels, loc="outside upper left", ncols=columns)
