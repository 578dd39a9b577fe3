"""Contrasts: paired differences between runs that differ in one thing."""

from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from results_builder import ResultsBuilder

from analysis.cli import main
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
