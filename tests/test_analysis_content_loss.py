"""Figure 7: the paper's equation 4, by hand; figures of what a study has."""

import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image
from results_builder import PIXELS, ResultsBuilder

from analysis.figures.catalogue import draw_all
from analysis.figures.content_loss import content_loss, content_losses
from analysis.read.maps import read_maps
from analysis.read.measured import measure, shape_label, shown_shape
from analysis.read.results import Results, read_results
from data.targets import position_map
from probe.heads.spec import HeadSpec

ALL = ("f1", "f2", "f3", "f4", "f5")


def heads(levels: tuple[str, ...], kernel_size: int = 3) -> list[HeadSpec]:
    return [HeadSpec(levels, kernel_size, 1, 0, pattern) for pattern in ("H", "V", "G")]


def shown(results: Results, **options) -> list[np.ndarray]:
    figure = content_losses(results, measure(results), **options)
    return [np.asarray(image.get_array()) for image in figure.axes[0].images]


def test_equation_4_by_hand():
    # At the left upper pixel H and V are 0 and G is 0, its lowest; at the right upper one H is 1.
    predictions = {"H": 0.25, "V": 0.5, "G": 0.75}
    loss = content_loss({name: np.full((224, 224), value) for name, value in predictions.items()})
    assert loss[0, 0] == pytest.approx((0.25 + 0.5 + 0.75) / 3)
    assert loss[0, -1] == pytest.approx((0.75 + 0.5 + 0.75) / 3)
    assert loss[-1, 0] == pytest.approx((0.25 + 0.5 + 0.75) / 3)
    assert loss[-1, -1] == pytest.approx((0.75 + 0.5 + 0.75) / 3)
    # In row 100 and column 50: H is 50/223, V 100/223, G the bump between its ends.
    u, v = 2 * 50 / 223 - 1, 2 * 100 / 223 - 1
    bumps = [np.exp(-(x**2 + y**2) / 2) for x, y in ((u, v), (1, 1), (1 / 223, 1 / 223))]
    g = (bumps[0] - bumps[1]) / (bumps[2] - bumps[1])
    expected = (abs(50 / 223 - 0.25) + abs(100 / 223 - 0.5) + abs(g - 0.75)) / 3
    assert loss[100, 50] == pytest.approx(expected)
    assert loss.shape == (224, 224)


def test_figure_7_is_a_row_per_run_and_a_column_per_image_on_one_scale(tmp_path: Path):
    builder = ResultsBuilder(tmp_path, maps=True)
    builder.add(heads=heads(ALL), sources={"train": "gone", "test": "gone"})
    builder.add(PIXELS, heads=heads(("input",)), sources={"train": "gone", "test": "gone"})
    results = read_results(tmp_path)
    tiles = shown(results)
    assert len(tiles) == 2 * 5
    assert len(shown(results, images=2)) == 2 * 2
    losses = []
    for run, levels in ((PIXELS, "input"), ("vgg16-random-zeros", "f1+f2+f3+f4+f5")):
        kept = [read_maps(results, run, f"{p}-{levels}-k3-d1-p0-s0") for p in "HVG"]
        for image in range(5):
            errors = [
                np.abs(position_map(p) - maps.predictions["test"][image])
                for p, maps in zip("HVG", kept, strict=True)
            ]
            losses.append(sum(errors) / 3)
    top = np.percentile(losses, 99.5)
    for tile, loss in zip(tiles, losses, strict=True):
        np.testing.assert_allclose(tile, np.clip(loss / top, 0, 1), atol=1e-6)


def test_the_photograph_lies_dimmed_under_its_loss(tmp_path: Path):
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(5):
        Image.new("RGB", (224, 224), (255, 255, 255)).save(folder / f"test-{index:05d}", "PNG")
    sources = {"train": "gone", "test": str(folder)}
    ResultsBuilder(tmp_path / "a", maps=True).add(heads=heads(ALL), sources=sources)
    gone = {"train": "gone", "test": "gone"}
    ResultsBuilder(tmp_path / "b", maps=True).add(heads=heads(ALL), sources=gone)
    over, bare = shown(read_results(tmp_path / "a")), shown(read_results(tmp_path / "b"))
    for tile, share in zip(over, bare, strict=True):
        colours = colormaps["cividis"](share)[:, :, :3]
        np.testing.assert_allclose(tile, 0.35 + 0.65 * colours, atol=1e-6)


@pytest.mark.parametrize(
    ("levels", "kernel_size", "label"),
    [
        (ALL, 1, "all levels, 1 x 1, one layer"),
        (("f5",), 1, "level f5, 1 x 1, one layer"),
        (("f4",), 7, "level f4, 7 x 7, one layer"),
    ],
)
def test_figures_show_the_readouts_that_a_study_has(tmp_path: Path, levels, kernel_size, label):
    builder = ResultsBuilder(tmp_path, maps=True)
    builder.add(heads=heads(levels, kernel_size)).add(
        padding="none", heads=heads(levels, kernel_size)
    )
    results = read_results(tmp_path)
    measured = measure(results)
    assert shape_label(shown_shape(measured)) == label
    drawn = {drawing.name: drawing for drawing in draw_all(results, measured)}
    for name in ("figure_4", "figure_6", "figure_7", "mean_squared_error", "error_by_border"):
        assert f"Readouts: {label}." in drawn[name].caption
    for drawing in drawn.values():
        texts = [text.get_text() for axes in drawing.figure.axes for text in axes.texts]
        texts += [text.get_text() for text in drawing.figure.texts]
        assert not re.search("no .* measured", " ".join(texts)), drawing.name
