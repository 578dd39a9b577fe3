"""Every figure of placed studies, with its title and what it shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from analysis.figures.catalogue import Drawing
from analysis.figures.words import lines_in_words
from analysis.placed import figures


def draw_placed(folder: Path) -> Iterator[Drawing]:
    """The figures of a results folder of which anything was measured."""
    for name, title, caption, rows, draw in (
        (
            "placed_by_level",
            "Location from pooled vectors, by level and reading",
            "Accuracy over the cells of a grid, mean-pooled; bands are 95 % intervals over test "
            "patches, the thin line is chance.",
            figures.level_rows,
            figures.by_level,
        ),
        (
            "placed_by_border",
            "Which of two corners, by the border around them",
            "Ordered vectors of the deepest level; bands are 95 % intervals over test patches, the "
            "thin line is chance, dotted what Kayhan and van Gemert (CVPR 2020) show in figure 4.",
            figures.corner_rows,
            figures.by_border,
        ),
        (
            "placed_by_ring",
            "Location by distance to the border",
            "Ordered, mean-pooled vectors of the deepest level; bands are 95 % intervals over test "
            "patches, the thin line is chance.",
            figures.distance_rows,
            figures.by_ring,
        ),
        (
            "placed_segmentation",
            "What is drawn of placed patches, by level",
            "Mean intersection over union of a 1x1 head on aligned maps. The class of a patch can "
            "be drawn without knowing where it lies; its class by half of the canvas cannot.",
            figures.drawn_rows,
            figures.segmentation_by_level,
        ),
    ):
        found = rows(folder)
        if len(found):
            measured = f"{caption} Measured on: {found['condition'].iloc[0]}."
            figure = draw(folder)
            yield Drawing(name, title, measured, "svg", figure, lines_in_words(figure))
