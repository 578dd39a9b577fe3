"""Contrasts: paired differences between runs that differ in one thing."""

from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from results_builder import ResultsBuilder

from analysis.cli import main
from analysis.read.measured import measure
from analysis.read.results import read_results
from analysis.tables.contrast import contrast_patterns
from data.intervals import bootstrap_interval
from probe.heads.spec import HeadSpec


def test_zeros_against_reflect_by_one_option(tmp_path: Path):
    heads = [HeadSpec(("f5",), 1, 1, 0, p) for p in ("H", "G")]
    rule = lambda b, padding, h, i: (0.7 if padding == "zeros" else 0.4, 0.1)  # noqa: E731
    builder = ResultsBuilder(tmp_path / "results", score=rule)
    builder.add(heads=heads).add(padding="reflect", heads=heads)
    out = tmp_path / "out"
    words = ["--results-dir", str(builder.folder), "--out", str(out), "--contrast"]
    outcome = CliRunner().invoke(main, [*words, "padding"])
    assert outcome.exit_code == 0, outcome.output
    table = pd.read_csv(out / "contrast_padding.csv")
    assert table["more"].unique().tolist() == ["vgg16-random-reflect"]
    assert table["pattern"].tolist() == ["H", "G"]
    assert table["difference"].to_numpy() == pytest.approx(-0.3, abs=1e-5)
    assert ((table["low"] < -0.29) & (table["high"] > -0.31)).all()
    assert "-.300" in outcome.output
    outcome = CliRunner().invoke(main, [*words, "backbone"])
    assert outcome.exit_code == 1
    assert "differ in backbone alone" in outcome.stderr


def test_two_patterns_of_one_readout_are_paired_by_image(tmp_path: Path):
    heads = [HeadSpec((level,), 1, 1, 0, p) for level in ("f4", "f5") for p in ("H", "V")]
    heads.append(HeadSpec(("f3",), 1, 1, 0, "V"))  # without its H: left out
    heights = {("f4", "H"): 0.5, ("f4", "V"): 0.4, ("f5", "H"): 0.1, ("f5", "V"): 0.9}
    rule = lambda b, p, h, i: (heights.get((*h.levels, h.pattern), 0.7), 0.1)  # noqa: E731
    results = read_results(ResultsBuilder(tmp_path, score=rule).add(heads=heads).folder)
    table = contrast_patterns(results, measure(results), "V", "H").set_index("reads")
    assert sorted(table.index) == ["f4", "f5"]
    values = results.image_scores.query("images == 'test'").pivot(
        index="image", columns="head", values="spc"
    )
    paired = values["V-f5-k1-d1-p0-s0"] - values["H-f5-k1-d1-p0-s0"]
    row = table.loc["f5"]
    assert row["difference"] == pytest.approx(paired.mean())
    assert (row["low"], row["high"]) == pytest.approx(bootstrap_interval(paired.to_numpy()))
    assert (row["more"], row["less"]) == pytest.approx((0.9, 0.1), abs=1e-5)
    assert (row["run"], row["n_images"]) == ("vgg16-random-zeros", 64)
    assert table.loc["f4", "high"] < 0
    assert contrast_patterns(results, measure(results), "V", "G").empty
