"""Figures of placed studies: accuracy by level and reading, by border, by distance to it; what
is drawn of patches, by level."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.style import (
    PUBLISHED_LOOK,
    SOFT,
    common_legend,
    draw_series,
    line_look,
    line_panels,
    look,
)
from analysis.placed.cells import GMP, LEVEL
from analysis.placed.read import (
    EVERY_CELL,
    network_label,
    placed_tables,
    read_placed,
    read_segmentation,
)
from analysis.placed.tables.border import border_rows
from analysis.placed.tables.canvas import ring_rows
from analysis.placed.tables.pooling import grid_rows
from analysis.placed.tables.segmentation import segmentation_rows


def level_rows(folder: Path) -> pd.DataFrame:
    """Location on grids by level and reading, of the first condition that was measured."""
    rows = grid_rows(read_placed(folder)).query("task == 'location' and level != 'input'")
    return _first_condition(rows[rows["ring"] == EVERY_CELL])


def by_level(folder: Path) -> Figure:
    """Accuracy by level: a panel for each network and grid, a line for each reading."""
    rows = level_rows(folder)
    rows = rows.assign(
        panel=[f"{row.network}, {row.grid} x {row.grid}" for row in rows.itertuples()]
    )
    return _lines(rows, "panel", "level", "reading", "level")


def distance_rows(folder: Path) -> pd.DataFrame:
    """Location on grids of three rings and more, by pixels between a cell and the border."""
    rows = ring_rows(read_placed(folder))
    rows = rows[(rows["level"] == LEVEL) & (rows["grid"] >= 5) & (rows["ring"] != EVERY_CELL)]
    rows = _first_condition(rows)
    return rows.assign(distance=rows["ring"].astype(int) * rows["patch_size"].astype(int))


def by_ring(folder: Path) -> Figure:
    """Accuracy by the distance of cells to the border: a panel for each canvas."""
    return _lines(
        distance_rows(folder), "canvas", "distance", "network", "pixels between cell and border"
    )


def corner_rows(folder: Path) -> pd.DataFrame:
    """Location in two corners, by border."""
    rows = border_rows(read_placed(folder))
    return _first_condition(rows[(rows["level"] == LEVEL) & (rows["ring"] == EVERY_CELL)])


def by_border(folder: Path) -> Figure:
    """Accuracy by the border around two corners: a panel for each network, a line per pooling.

    Dotted: what is published of the same network.
    """
    rows = corner_rows(folder)
    published = placed_tables().query("table == 'K4'")
    names = published["network"].combine(published["weights"], network_label)
    published = published.assign(network=names)

    def beside(panel: Axes, network: str) -> None:
        line = published[published["network"] == network]
        if len(line):
            panel.plot(
                line["column"].astype(int),
                line["value"] / 100,
                marker="o",
                label=f"published, {GMP}",
                **PUBLISHED_LOOK,
            )

    return _lines(rows, "network", "border", "pooling", "border, pixels", beside)


def drawn_rows(folder: Path) -> pd.DataFrame:
    """Mean intersection over union of segmentations of placed patches, over all cells."""
    rows = segmentation_rows(read_segmentation(folder))
    return _first_condition(rows[rows["ring"] == EVERY_CELL])


def segmentation_by_level(folder: Path) -> Figure:
    """Mean intersection over union by level: a panel for each target, a line for each network."""
    rows = drawn_rows(folder)
    titles, order = list(dict.fromkeys(rows["target"])), list(dict.fromkeys(rows["network"]))
    with look():
        figure, panels = line_panels(titles)
        for panel, title in zip(panels, titles, strict=True):
            for name, line in rows[rows["target"] == title].groupby("network", sort=False):
                appearance = line_look(order.index(str(name)))
                draw_series(panel, line["level"], line["iou"].astype(float), appearance, str(name))
            panel.set(xlabel="level", ylabel="mean IoU", ylim=(-0.02, 1.02))
        common_legend(figure, panels, order, columns=3)
        return figure


def _first_condition(rows: pd.DataFrame) -> pd.DataFrame:
    """Conditions do not mix in one figure."""
    return rows[rows["condition"] == rows["condition"].iloc[0]] if len(rows) else rows


def _lines(
    rows: pd.DataFrame,
    panel_by: str,
    x: str,
    line_by: str,
    label: str,
    beside: Callable[[Axes, str], None] = lambda panel, title: None,
) -> Figure:
    """Accuracies with their intervals as bands; a thin line is chance."""
    titles = list(dict.fromkeys(rows[panel_by].astype(str)))
    order = list(dict.fromkeys(rows[line_by]))
    with look():
        figure, panels = line_panels(titles, sharex=False)
        for panel, title in zip(panels, titles, strict=True):
            part = rows[rows[panel_by] == title]
            for name, line in part.groupby(line_by, sort=False):
                line, appearance = line.sort_values(x), line_look(order.index(name))
                draw_series(panel, line[x], line["accuracy"].astype(float), appearance, str(name))
                ends = line[["low", "high"]].astype(float)
                colour = appearance.color
                panel.fill_between(
                    line[x], ends["low"], ends["high"], color=colour, alpha=0.15, linewidth=0
                )
            panel.axhline(float(part["chance"].iloc[0]), color=SOFT, linewidth=0.6)
            beside(panel, title)
            panel.set(xlabel=label, ylabel="accuracy", ylim=(-0.02, 1.02))
        common_legend(figure, panels, [*map(str, order), f"published, {GMP}"], columns=3)
        return figure
