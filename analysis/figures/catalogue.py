"""Every figure the command draws, with its title and what it shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures import maps as map_figures
from analysis.figures import scores as figures
from analysis.figures.content_loss import content_losses, has_content_losses
from analysis.figures.crops import crops, has_crops
from analysis.figures.depth import has_single_levels, spc_by_depth
from analysis.figures.learning_curve import learning_curve
from analysis.figures.words import TARGETS, lines_in_words, scores_in_words
from analysis.read.measured import shape_label, shown_shape
from analysis.read.results import Results
from data.vocabulary import KEPT_IMAGES


@dataclass(frozen=True)
class Drawing:
    """One drawn figure."""

    name: str  # of its file, without ending
    title: str
    caption: str
    kind: str  # "svg", or "png" where maps would make a vector file large: for the report
    figure: Figure
    shows: str  # in words with numbers, for those who cannot see it


@dataclass(frozen=True)
class _Entry:
    name: str
    title: str
    caption: str
    draw: Callable[..., Figure]  # of results, measured and, `of_images`, how many images
    kind: str = "png"
    by_condition: bool = False  # one figure per condition, or one of everything measured
    measured: Callable[[Results], bool] = lambda results: True  # of what only some runs have
    shows: Callable[[pd.DataFrame], bool] = lambda measured: True  # or it would be empty
    of_one_shape: bool = False  # shows the readouts of `shown_shape`, and says which
    of_images: bool = False
    # What it shows, in words; of lines, where they begin and end.
    words: Callable[[Figure, pd.DataFrame], str] = lambda figure, rows: lines_in_words(figure)


def _scores(figure: Figure, rows: pd.DataFrame) -> str:
    """Of maps: the scores of the readouts that they are of."""
    return scores_in_words(rows)


_ENTRIES = (
    _Entry(
        "figure_1",
        "Figure 1. Crops of one image, and what is salient in each",
        "VGG16 trained for saliency. An image and a crop of it; a region that moves with the crop "
        "is found by its place in the frame, one that stays by what it shows.",
        lambda results, measured: crops(results.folder),
        words=lambda figure, rows: "An image and a crop of it, each beside its saliency map.",
        measured=lambda results: has_crops(results.folder),
    ),
    _Entry(
        "figure_3",
        "Figure 3. The position maps",
        "What a readout is trained to give at every pixel, whatever the image shows.",
        lambda results, measured: map_figures.targets(),
        words=lambda figure, rows: TARGETS,
    ),
    _Entry(
        "figure_4",
        "Figure 4. What readouts predict",
        "Rows: model and image; columns: pattern. Readouts of the first seed; the "
        "natural image is the first of the test set.",
        map_figures.predictions,
        words=_scores,
        by_condition=True,
        of_one_shape=True,
    ),
    _Entry(
        "figure_5",
        "Figure 5. Deeper readouts and larger kernels",
        "SPC on natural images with 95 % intervals over images; hollow markers and dotted lines "
        "are the paper's values, where it has them (ImageNet weights).",
        lambda results, measured: figures.readout_effect(measured),
        kind="svg",
        by_condition=True,
        shows=figures.has_effect,
    ),
    _Entry(
        "figure_5_maps",
        "Figure 5, maps. What deeper readouts and larger kernels predict",
        "Predictions for the first test image; below each map the readout and its SPC, a mean "
        "over the test set.",
        map_figures.effect_maps,
        words=_scores,
        by_condition=True,
        shows=figures.has_effect,
    ),
    _Entry(
        "figure_6",
        "Figure 6. Position by padding",
        "Predictions for the first test image, by padding of the backbone and of the readout; "
        "below each map its SPC and MAE, means over the test set.",
        map_figures.padding_effect,
        words=_scores,
        by_condition=True,
        of_one_shape=True,
        shows=map_figures.has_paddings,
    ),
    _Entry(
        "figure_7",
        "Figure 7. Where readouts err, image by image",
        "Content loss of the paper's equation 4, |target - prediction| averaged over H, V and G at "
        "every pixel, over a dimmed copy of the image where it could be found; one scale.",
        content_losses,
        words=lambda figure, rows: scores_in_words(rows, "mae", "H", "V", "G"),
        by_condition=True,
        shows=has_content_losses,
        of_one_shape=True,
        of_images=True,
    ),
    _Entry(
        "mean_squared_error",
        "Where readouts err, averaged over images",
        "The squared difference between prediction and target at every pixel, averaged over the "
        "test images. Each row has its own scale.",
        map_figures.error_maps,
        words=_scores,
        by_condition=True,
        of_one_shape=True,
    ),
    _Entry(
        "spc_by_level",
        "SPC by level",
        "Natural images, readouts of one kind, every run; bars are 95 % intervals over images. "
        "Colour: backbone and weights; dashes: its padding. Dotted grey, "
        "where the paper has such readouts: its VGG16.",
        lambda results, measured: figures.spc_by_level(measured),
        kind="svg",
        of_one_shape=True,
    ),
    _Entry(
        "spc_by_depth",
        "SPC by relative depth",
        "Readouts of single levels, every run, natural images; bands are 95 % intervals over "
        "images. Relative depth: layers with weights that have run at the tap, over all that the "
        "backbone has without its classifier. A cross: the pixels alone.",
        spc_by_depth,
        kind="svg",
        measured=has_single_levels,
    ),
    _Entry(
        "learning_curve",
        "How many images it takes",
        "SPC of exact readouts solved on the first training images of one fixed random order; "
        "natural images.",
        learning_curve,
        kind="svg",
        measured=lambda results: len(results.curves) > 0,
    ),
    _Entry(
        "error_by_border",
        "Error by distance to the border",
        "Root mean squared error over the test images and the pixels of each ring, every run; 1 is "
        "the error of a map that is the same everywhere, whose error by ring is dotted. Bands are "
        "95 % intervals over the n images. Colour: backbone and weights; dashes: its padding.",
        figures.error_by_border,
        kind="svg",
        of_one_shape=True,
    ),
)


def draw_all(
    results: Results, measured: pd.DataFrame, images: int = KEPT_IMAGES
) -> Iterator[Drawing]:
    """Every figure of what was measured, one after the other; figure 7 of so many images."""
    conditions = list(measured.groupby("condition", sort=False))
    for entry in _ENTRIES:
        if not entry.measured(results) or not entry.shows(measured):
            continue
        if not entry.by_condition:
            yield _drawing(entry, measured, entry.draw(results, measured))
            continue
        for number, (condition, rows) in enumerate(conditions, start=1):
            if not entry.shows(rows):
                continue
            more = {"images": images} if entry.of_images else {}
            drawing = _drawing(entry, rows, entry.draw(results, rows, **more))
            name = entry.name if number == 1 else f"{entry.name}_{number}"
            caption = f"{drawing.caption} Measured on: {condition}."
            yield replace(drawing, name=name, caption=caption)


def _drawing(entry: _Entry, rows: pd.DataFrame, figure: Figure) -> Drawing:
    words = entry.words(figure, rows)
    return Drawing(entry.name, entry.title, _caption(entry, rows), entry.kind, figure, words)


def _caption(entry: _Entry, measured: pd.DataFrame) -> str:
    if not entry.of_one_shape:
        return entry.caption
    return f"{entry.caption} Readouts: {shape_label(shown_shape(measured))}."
