"""Figures show what was measured; they are returned, never saved, the same every time."""

import io
import sys
from pathlib import Path

import h5py
import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from results_builder import PIXELS, ResultsBuilder, demo_results

from analysis.figures import maps as map_figures
from analysis.figures import scores as figures
from analysis.figures.catalogue import draw_all
from analysis.figures.mosaic import ERROR_COLOURS, MAP_COLOURS
from analysis.figures.style import line_look, looks_of, save
from analysis.read.maps import HeadMaps, border_profile, read_maps
from analysis.read.measured import measure
from analysis.read.results import Results, read_results
from data.border import ring_means
from data.images.generated import generated_image
from data.targets import position_map
from data.tools.errors import UserError
from probe.heads.spec import HeadSpec

ALL = ("f1", "f2", "f3", "f4", "f5")
HEAD = "G-f1+f2+f3+f4+f5-k3-d1-p0-s0"


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Results:
    folder = tmp_path_factory.mktemp("figures")
    return read_results(demo_results(folder, maps=True).folder)


def texts(figure: Figure) -> list[str]:
    found = [text.get_text() for axes in figure.axes for text in axes.texts]
    found += [axes.get_title(loc="left") for axes in figure.axes]
    return [text for text in found if text]


def tiles(figure: Figure) -> list[np.ndarray]:
    """The maps shown; images in colours of their own are left out."""
    shown = [np.asarray(image.get_array()) for image in figure.axes[0].images]
    return [tile for tile in shown if tile.ndim == 2]


def pictures(figure: Figure) -> list[np.ndarray]:
    shown = [np.asarray(image.get_array()) for image in figure.axes[0].images]
    return [tile for tile in shown if tile.ndim == 3]


def line(axes, label: str) -> np.ndarray:
    """(points, 2) of the error bars with this label."""
    bars = next(c for c in axes.containers if c.get_label() == label)
    return bars.lines[0].get_xydata()


def test_every_figure_is_drawn_and_none_is_saved(results: Results, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    drawn = list(draw_all(results, measure(results)))
    names = [drawing.name for drawing in drawn]
    assert names == [
        *("figure_3", "figure_4", "figure_5", "figure_5_maps", "figure_6", "figure_7"),
        "mean_squared_error",
        *("spc_by_level", "spc_by_depth", "error_by_border"),
    ]
    assert all(isinstance(drawing.figure, Figure) for drawing in drawn)
    assert not list(tmp_path.iterdir())
    assert "matplotlib.pyplot" not in sys.modules


@pytest.mark.parametrize("kind", ["svg", "pdf", "png"])
def test_the_same_results_give_the_same_bytes(results: Results, kind: str):
    written = []
    for _ in range(2):
        target = io.BytesIO()
        save(figures.spc_by_level(measure(results)), target, kind)
        written.append(target.getvalue())
    assert written[0] == written[1]
    assert len(written[0]) > 2000


def test_targets_are_the_five_maps():
    shown = tiles(map_figures.targets())
    for tile, pattern in zip(shown, ("H", "V", "G", "HS", "VS"), strict=True):
        np.testing.assert_allclose(tile, position_map(pattern))


def test_predictions_are_upsampled_as_they_are_scored(results: Results):
    with h5py.File(results.folder / "vgg16-random-zeros" / "heads.h5") as file:
        kept = file[HEAD]["predictions/noise"][()]
    maps = torch.from_numpy(kept)[:, None]
    expected = torch.nn.functional.interpolate(maps, (224, 224), mode="bilinear")[:, 0].numpy()
    found = read_maps(results, "vgg16-random-zeros", HEAD)
    np.testing.assert_allclose(found.predictions["noise"], expected, atol=1e-5)
    shown = tiles(map_figures.predictions(results, measure(results)))
    assert any(np.allclose(tile, expected[0], atol=1e-5) for tile in shown)
    # 5 targets; pixels and padded VGG16 5 patterns, unpadded 3; each for 4 image sets.
    assert len(shown) == 5 + 4 * (5 + 5 + 3)


def test_signed_stripes_are_scaled_like_their_target(results: Results):
    head = HEAD.replace("G-", "HS-")
    raw = read_maps(results, "vgg16-random-zeros", head).predictions["test"][0]
    shown = tiles(map_figures.predictions(results, measure(results)))
    assert any(np.allclose(tile, (raw + 1) / 2, atol=1e-6) for tile in shown)


def test_what_was_not_measured_says_so(results: Results):
    said = texts(map_figures.predictions(results, measure(results)))
    # V and VS without padding, and the images of the targets and of the three runs' test sets
    assert said.count("–") == 2 * 4 + 1 + 3


def test_the_input_image_stands_beside_its_predictions(results: Results):
    measured = measure(results)
    shown = pictures(map_figures.predictions(results, measured))
    assert len(shown) == 3 * 3  # three runs; black, white, noise
    assert [tile.min() for tile in shown[:2]] == [0, 255]
    np.testing.assert_array_equal(shown[2], generated_image("noise-00000", 0, 224))
    # Table 4's figure has the first test image, whose made-up name no longer leads anywhere.
    assert pictures(map_figures.padding_effect(results, measured)) == []


def test_only_measured_patterns_have_columns_and_rows(tmp_path: Path):
    heads = [HeadSpec(ALL, 1, 1, 0, pattern) for pattern in ("H", "G")]
    builder = ResultsBuilder(tmp_path, maps=True).add(padding="reflect", heads=heads)
    results = read_results(builder.folder)
    drawn = {drawing.name: drawing.figure for drawing in draw_all(results, measure(results))}
    assert {"V", "HS", "VS"} & set(texts(drawn["figure_4"])) == set()
    assert "figure_7" not in drawn  # equation 4 is of H, V and G


def test_figure_5_shows_a_study_without_zero_padding(tmp_path: Path):
    heads = [HeadSpec(ALL, size, 1, 0, pattern) for size in (1, 3) for pattern in ("H", "G")]
    builder = ResultsBuilder(tmp_path, maps=True).add(padding="reflect", heads=heads)
    results = read_results(builder.folder)
    drawn = {drawing.name: drawing.figure for drawing in draw_all(results, measure(results))}
    panel = drawn["figure_5"].axes[0]
    assert panel.get_title(loc="left") == "VGG16, reflect padding"
    assert panel.get_xlabel() == "kernel size of the readout"
    assert panel.get_ylabel() == "SPC, natural images"
    assert not [
        line for line in panel.lines if "paper" in str(line.get_label()) and len(line.get_xdata())
    ]
    captions = [text for text in texts(drawn["figure_5_maps"]) if "SPC" in text]
    assert [text.split("\n")[0] for text in captions] == ["1 x 1", "3 x 3"]
    kept = [
        read_maps(results, "vgg16-random-reflect", f"G-f1+f2+f3+f4+f5-k{k}-d1-p0-s0")
        for k in (1, 3)
    ]
    shown = tiles(drawn["figure_5_maps"])
    np.testing.assert_allclose(shown[0], position_map("G"))
    for tile, maps in zip(shown[1:], kept, strict=True):
        np.testing.assert_allclose(tile, maps.predictions["test"][0])


def test_stripes_of_a_wide_range_stand_in_their_targets_range_beside_figure_5(tmp_path: Path):
    heads = [HeadSpec(ALL, size, 1, 0, "HS") for size in (1, 3)]
    ResultsBuilder(tmp_path, maps=True).add(heads=heads)
    results = read_results(tmp_path)
    shown = tiles(map_figures.effect_maps(results, measure(results)))
    for tile, size in zip(shown[1:], (1, 3), strict=True):
        kept = read_maps(results, "vgg16-random-zeros", f"HS-f1+f2+f3+f4+f5-k{size}-d1-p0-s0")
        np.testing.assert_allclose(tile, (kept.predictions["test"][0] + 1) / 2)  # from [-1, 1]


def test_levels_figure_has_the_papers_line_only_beside_its_readouts(tmp_path: Path):
    heads = [HeadSpec((level,), 1, 1, 0, "H") for level in ALL]
    ResultsBuilder(tmp_path).add(heads=heads)
    figure = figures.spc_by_level(measure(read_results(tmp_path)))
    labels = [str(line.get_label()) for line in figure.axes[0].lines]
    assert not [label for label in labels if "paper" in label]  # which has 3 x 3 alone


def test_colour_bars_have_numbers_and_a_meaning(results: Results):
    for drawing in draw_all(results, measure(results)):
        for axes in drawing.figure.axes[1:] if drawing.kind == "png" else ():
            labels = [text.get_text() for text in axes.get_yticklabels()]
            assert len(labels) == 3, drawing.name
            assert all(float(label) >= 0 for label in labels)
            assert axes.get_ylabel()


def test_colour_means_the_backbone_and_dashes_its_padding(tmp_path: Path):
    builder = ResultsBuilder(tmp_path)
    for backbone in ("vgg16", "alexnet"):
        for padding in ("zeros", "reflect"):
            builder.add(backbone, padding=padding, heads=[HeadSpec(("f5",), 1, 1, 0, "H")])
    looks = looks_of(measure(read_results(tmp_path)))
    one, other = looks["vgg16-random-zeros"], looks["vgg16-random-reflect"]
    third, last = looks["alexnet-random-zeros"], looks["alexnet-random-reflect"]
    assert one.color == other.color != third.color == last.color
    assert one.linestyle == third.linestyle != other.linestyle == last.linestyle
    assert len({look.marker for look in looks.values()}) == 4


def test_padding_figure_has_the_scores_of_table_4_under_each_map(results: Results):
    measured = measure(results)
    said = texts(map_figures.padding_effect(results, measured))
    rows = measured[(measured["images"] == "test") & (measured["reads"] == "all")]
    rows = rows[(rows["depth"] == 1) & (rows["kernel_size"] == 3)]
    rows = rows[rows["pattern"].isin(["H", "G", "HS"])]
    wanted = [
        f"SPC {row.spc:.3f}\nMAE {row.mae:.3f}".replace(" 0.", " .") for row in rows.itertuples()
    ]
    assert sorted(text for text in said if text.startswith("SPC")) == sorted(wanted)
    assert len(wanted) == 3 * 5


def test_error_maps_are_scaled_within_their_row(results: Results):
    with h5py.File(results.folder / "pixels" / "heads.h5") as file:
        worst = file["H-input-k3-d1-p0-s0"]["error/test"][()]
    figure = map_figures.error_maps(results, measure(results))
    top = np.percentile(worst, 99.5)
    np.testing.assert_allclose(tiles(figure)[0], worst / top, rtol=1e-5)
    assert f"0 to {top:.3f}".replace(" 0.", " .") in texts(figure)


def test_levels_figure_shows_means_intervals_and_the_paper(results: Results):
    measured = measure(results)
    figure = figures.spc_by_level(measured)
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes}
    assert set(panels) == {"H", "G"}
    points = line(panels["H"], "vgg16-random-zeros")
    np.testing.assert_allclose(points[:, 0], range(1, 7))  # f1 ... f5, all
    np.testing.assert_allclose(points[:, 1], [0.15, 0.3, 0.45, 0.6, 0.75, 0.78], atol=1e-5)
    paper = next(x for x in panels["H"].lines if "paper" in str(x.get_label()))
    np.testing.assert_allclose(paper.get_xydata()[:, 1], [0.101, 0.344, 0.472, 0.610, 0.657, 0.742])


def test_readout_figure_shows_depth_and_kernel_size(results: Results):
    figure = figures.readout_effect(measure(results))
    panels = {
        axes.get_title(loc="left"): axes
        for axes in figure.axes
        if axes.get_xlabel() == "convolutions in the readout"
    }
    depth = panels["VGG16"]
    np.testing.assert_allclose(line(depth, "H")[:, 1], [0.78, 0.83, 0.88], atol=1e-5)
    assert [text.get_text() for text in depth.get_xticklabels()] == ["1", "2", "3"]
    (kernel,) = (
        axes
        for axes in figure.axes
        if axes.get_xlabel().startswith("kernel") and axes.get_title(loc="left") == "VGG16"
    )
    np.testing.assert_allclose(line(kernel, "H")[:, 1], [0.76, 0.78, 0.82], atol=1e-5)
    assert [text.get_text() for text in kernel.get_xticklabels()] == ["1", "3", "7"]


def test_border_profile_is_the_mean_over_each_ring():
    generator = np.random.default_rng(0)
    error, target = generator.random((9, 9)).astype(np.float32), generator.random((9, 9))
    maps = HeadMaps({}, {}, {"test": error}, {})
    profile = border_profile(maps, target, "test")
    sums: dict[int, list[float]] = {}
    for y in range(9):
        for x in range(9):
            sums.setdefault(min(y, x, 8 - y, 8 - x), []).append(float(error[y, x]))
    expected = [np.sqrt(np.mean(sums[ring])) for ring in range(5)]
    np.testing.assert_allclose(profile["error"], expected / target.std(), rtol=1e-6)
    # A constant map's errors by ring have the deviation of the target as their mean.
    pixels = [9 * 4 - 4, 6 * 4, 4 * 4, 2 * 4, 1]
    whole = np.average(np.square(profile["constant"]), weights=pixels)
    assert whole == pytest.approx(1.0)
    np.testing.assert_allclose(profile["distance"], (np.arange(5) + 0.5) / 9 * 100)
    assert profile["low"].isna().all()  # the errors of single images were not kept


def test_bands_of_the_error_by_border_are_over_images():
    generator = np.random.default_rng(1)
    squared = generator.random((40, 9, 9)).astype(np.float32)
    rings = np.float32([[one[ring_of(9) == ring].mean() for ring in range(5)] for one in squared])
    np.testing.assert_allclose(ring_means(squared), rings, rtol=1e-6)
    target = generator.random((9, 9))
    maps = HeadMaps({}, {}, {"test": squared.mean(0)}, {"test": rings})
    profile = border_profile(maps, target, "test")
    means = np.square(profile[["low", "error", "high"]].to_numpy() * target.std())
    np.testing.assert_allclose(means[:, 1], rings.mean(0), rtol=1e-5)
    wide = 1.96 * rings.std(0, ddof=1) / np.sqrt(40)
    np.testing.assert_allclose(means[:, 1] - means[:, 0], wide, rtol=0.3)
    np.testing.assert_allclose(means[:, 2] - means[:, 1], wide, rtol=0.3)


def ring_of(size: int) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    return np.minimum(np.minimum(y, x), np.minimum(size - 1 - y, size - 1 - x))


def test_conditions_get_figures_of_their_own(tmp_path: Path):
    builder = demo_results(tmp_path, maps=True).add(weights="imagenet")
    results = read_results(builder.folder)
    drawn = {drawing.name: drawing for drawing in draw_all(results, measure(results))}
    assert {"figure_4", "figure_4_2"} < set(drawn)
    captions = {drawn["figure_4"].caption, drawn["figure_4_2"].caption}
    assert sum("with ImageNet weights" in caption for caption in captions) == 1
    panels = drawn["spc_by_level"].figure.axes[0]
    labels = {c.get_label() for c in panels.containers}
    assert {"vgg16-random-zeros", "vgg16-imagenet-zeros", PIXELS} <= labels


def test_figures_of_little_say_so_rather_than_fail(tmp_path: Path):
    heads = [HeadSpec(("f3",), 5, 2, 1, "V")]
    builder = ResultsBuilder(tmp_path, maps=True).add("own_net", heads=heads)
    results = read_results(builder.folder)
    for drawing in draw_all(results, measure(results)):
        save(drawing.figure, io.BytesIO(), "png")


def test_missing_maps_are_named(results: Results, tmp_path: Path):
    with pytest.raises(UserError, match=r"heads\.h5 has no maps of head Q.*half written"):
        read_maps(results, "pixels", "Q")
    demo_results(tmp_path)  # without maps
    bare = read_results(tmp_path)
    with pytest.raises(UserError, match=r"heads\.h5 has no maps"):
        map_figures.error_maps(bare, measure(bare))


def test_series_differ_without_colour_and_maps_rise_in_lightness():
    looks = [line_look(index) for index in range(7)]
    assert len({one.marker for one in looks}) == 7
    assert len({one.color for one in looks}) == 7
    for name in (MAP_COLOURS, ERROR_COLOURS):
        colours = mpl.colormaps[name](np.linspace(0, 1, 32))[:, :3]
        lightness = colours @ [0.2126, 0.7152, 0.0722]
        assert (np.diff(lightness) > 0).all()
    # The first three lines of most figures: luminance far enough apart to print in grey.
    grey = [np.dot(to_rgb(one.color), [0.2126, 0.7152, 0.0722]) for one in looks[:3]]
    assert min(abs(a - b) for i, a in enumerate(grey) for b in grey[:i]) > 0.03


def test_padding_figure_needs_a_backbone_of_several_paddings_where_there_is_one(tmp_path: Path):
    pixels = [HeadSpec(("input",), 3, 1, padding, "H") for padding in (0, 1)]
    builder = ResultsBuilder(tmp_path)
    builder.add(PIXELS, "-", "-", heads=pixels)
    assert map_figures.has_paddings(measure(read_results(tmp_path)))
    builder.add("vgg16", heads=[HeadSpec(("f1", "f2", "f3", "f4", "f5"), 3, 1, 0, "H")])
    assert not map_figures.has_paddings(measure(read_results(tmp_path)))
    builder.add(
        "vgg16", padding="none", heads=[HeadSpec(("f1", "f2", "f3", "f4", "f5"), 3, 1, 0, "H")]
    )
    assert map_figures.has_paddings(measure(read_results(tmp_path)))
