"""Comparing backbones by relative depth."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from results_builder import PIXELS, ResultsBuilder, demo_results

from analysis.cli import main
from analysis.figures.depth import spc_by_depth
from analysis.read.measured import measure
from analysis.read.results import Results, read_results
from analysis.tables.depth import by_depth, depth_table
from probe.heads.spec import HeadSpec

SINGLE = [HeadSpec((f"f{i}",), 1, 1, 0, pattern) for i in (1, 2, 3) for pattern in ("H", "G")]
VGG_DEPTHS = [2 / 13, 4 / 13, 7 / 13, 10 / 13, 1]


@pytest.fixture
def results(tmp_path: Path) -> Results:
    builder = demo_results(tmp_path / "results")
    builder.add("convnext_tiny", heads=SINGLE, levels=("f1", "f2", "f3"))
    return read_results(builder.folder)


def test_levels_stand_at_the_share_of_layers_that_have_run(results: Results) -> None:
    table = depth_table(results, measure(results))
    vgg = table[table["run"] == "vgg16-random-zeros"]
    assert vgg["levels"].tolist() == ["f1", "f2", "f3", "f4", "f5"]
    np.testing.assert_allclose(vgg["relative_depth"], VGG_DEPTHS)
    assert vgg["layers"].iloc[-1] == "13 of 13"
    assert vgg["tap"].iloc[0] == "tap.f1"
    np.testing.assert_allclose(vgg["H"], [0.15, 0.3, 0.45, 0.6, 0.75], atol=1e-6)
    assert vgg["HS"].isna().all()  # only the pixels were read for it
    assert set(table["run"]) == {"vgg16-random-zeros", "convnext_tiny-random-zeros", PIXELS}


def test_the_pixels_stand_at_depth_zero(results: Results) -> None:
    rows = by_depth(results, measure(results)).query("backbone == 'pixels'")
    assert len(rows)
    assert (rows["relative_depth"] == 0).all()


def test_unknown_depths_are_shown_as_such(tmp_path: Path) -> None:
    builder = ResultsBuilder(tmp_path).add()
    path = tmp_path / "vgg16-random-zeros" / "run.json"
    path.write_text(path.read_text().replace('"layers_in_all": 13', '"layers_in_all": null'))
    results = read_results(builder.folder)
    table = depth_table(results, measure(results))
    assert table["relative_depth"].isna().all()
    assert (table["layers"] == "").all()
    assert not spc_by_depth(results, measure(results)).axes


def test_the_figure_has_a_line_per_run(results: Results) -> None:
    figure = spc_by_depth(results, measure(results))
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert list(lines) == [
        "pixels, 3 x 3",
        "pixels, 1 x 1",
        "convnext_tiny-random-zeros, 1 x 1",
        "vgg16-random-zeros, 3 x 3",
    ]
    vgg = lines["vgg16-random-zeros, 3 x 3"].get_xydata()
    np.testing.assert_allclose(vgg[:, 0], VGG_DEPTHS)
    np.testing.assert_allclose(vgg[:, 1], [0.15, 0.3, 0.45, 0.6, 0.75], atol=1e-6)


def run(folder: Path, *options: str):
    places = ["--results-dir", str(folder / "results"), "--out", str(folder / "tables")]
    return CliRunner().invoke(main, [*places, *options])


def test_the_command_compares_and_does_nothing_else(results: Results, tmp_path: Path) -> None:
    done = run(tmp_path, "--compare", "--backbone", "vgg16")
    assert done.exit_code == 0, done.output
    assert "13 of 13" in done.output
    assert "(random weights); embedded sample images" in done.output
    assert "convnext_tiny-random" not in done.output
    written = {path.relative_to(tmp_path / "tables") for path in tmp_path.rglob("tables/**/*.*")}
    assert written == {
        Path(name)
        for name in (
            "compare.md",
            "compare.csv",
            "figures/spc_by_depth.pdf",
            "figures/spc_by_depth.png",
        )
    }


def test_nothing_to_compare_is_an_error(tmp_path: Path) -> None:
    ResultsBuilder(tmp_path / "results").add(padding="none")
    done = run(tmp_path, "--compare")
    assert done.exit_code == 1
    assert "no readout of a single level" in done.output
    done = run(tmp_path, "--compare", "--claims")
    assert done.exit_code == 1
    assert "leave one out" in done.output
