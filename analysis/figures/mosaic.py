"""Many small maps as one picture with labels: far faster to draw than a grid of axes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from analysis.figures.style import RULE, SOFT

MAP_COLOURS = "viridis"  # of predicted maps, and
ERROR_COLOURS = "cividis"  # of errors: both rise evenly in lightness

# Inches.
_SIDE, _GAP, _CHARACTER, _LINE = 1.05, 0.07, 0.07, 0.14
_BAR = 0.95  # room for the colour bar, its numbers and its words


@dataclass(frozen=True)
class Mosaic:
    """Maps (s, s) with values from 0 to 1, by row and column; None where nothing was measured.

    A tile may be a picture too, (s, s, 3), in colours of its own.
    """

    maps: list[list[NDArray[Any] | None]]
    rows: list[str]
    columns: list[str]
    colours: str
    meaning: str  # of the colours, in words
    top: float = 1.0  # the number that the value 1 stands for
    captions: list[list[str]] | None = None  # below each map
    notes: Sequence[str] = ()  # at the right end of each row

    def draw(self) -> Figure:
        """The figure; call it under `analysis.figures.style.look`."""
        below = _LINE * 2 + 0.04 if self.captions else 0.0
        left = 0.12 + _CHARACTER * max(len(line) for row in self.rows for line in row.split("\n"))
        right = 0.85 * _CHARACTER * max((len(note) for note in self.notes), default=0)
        above = 0.08 + _LINE * max(column.count("\n") + 1 for column in self.columns)
        step = _SIDE + _GAP
        width = left + step * len(self.columns) + right + _BAR
        height = above + (step + below) * len(self.rows) + 0.05
        figure = Figure(figsize=(width, height))
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set(xlim=(0.0, width), ylim=(height, 0.0))
        axes.set_axis_off()
        for number, name in enumerate(self.columns):
            x = left + step * number + _SIDE / 2
            axes.text(x, above - 0.06, name, ha="center", va="bottom", fontsize=7.5)
        for index, (name, maps) in enumerate(zip(self.rows, self.maps, strict=True)):
            y = above + (step + below) * index
            axes.text(left - 0.08, y + _SIDE / 2, name, ha="right", va="center")
            for number, values in enumerate(maps):
                self._tile(axes, values, left + step * number, y)
                if self.captions and self.captions[index][number]:
                    place = left + step * number + _SIDE / 2, y + _SIDE + 0.04
                    axes.text(
                        *place, self.captions[index][number], ha="center", va="top", fontsize=6.5
                    )
            if self.notes:
                x = left + step * len(maps)
                axes.text(x, y + _SIDE / 2, self.notes[index], va="center", color=SOFT, fontsize=7)
        self._bar(figure, width, height, above)
        return figure

    def _tile(self, axes: Axes, values: NDArray[Any] | None, x: float, y: float) -> None:
        if values is None:
            axes.text(x + _SIDE / 2, y + _SIDE / 2, "–", ha="center", va="center", color=SOFT)
            return
        axes.imshow(
            values,
            extent=(x, x + _SIDE, y + _SIDE, y),
            cmap=self.colours,
            vmin=0.0,
            vmax=1.0,
            aspect="auto",
        )
        if values.ndim == 3:  # a white picture has an edge too
            axes.add_patch(Rectangle((x, y), _SIDE, _SIDE, fill=False, edgecolor=RULE))
        # imshow fits the axes to its picture: undo that.
        axes.set_autoscale_on(False)

    def _bar(self, figure: Figure, width: float, height: float, above: float) -> None:
        tall = min(2.2, height - above - 0.15)
        place = (width - _BAR + 0.15) / width, (height - above - tall) / height
        axes = figure.add_axes((*place, 0.1 / width, tall / height))
        bar = figure.colorbar(ScalarMappable(cmap=colormaps[self.colours]), cax=axes)
        bar.outline.set_visible(False)
        ticks = [0.0, 0.5, 1.0]
        bar.set_ticks(ticks, labels=[f"{self.top * tick:.3g}" for tick in ticks])
        # As long as the bar at most: a figure of one row would cut it off.
        words = textwrap.fill(self.meaning, max(12, int(tall / (0.8 * _CHARACTER))))
        bar.set_label(words, size=7)
        axes.grid(visible=False)
