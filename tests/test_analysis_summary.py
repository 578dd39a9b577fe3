"""The user's result first, and the agreement with the published numbers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from results_builder import ResultsBuilder, demo_results
from scipy.stats import spearmanr

from analysis.config import TablesConfig
from analysis.make import make_tables
from analysis.read.measured import measure
from analysis.read.published import position_tables
from analysis.read.results import read_results
from analysis.tables import table as tables
from analysis.tables.papers.position import TABLE_1
from analysis.tables.summary import agreement, agreement_lines, summary_lines, summary_title
from analysis.tables.table import Material, Table
from probe.heads.spec import HeadSpec


def material(folder: Path) -> Material:
    results = read_results(folder)
    return Material(results, measure(results))


def test_a_kernel_1_study_ends_with_its_own_numbers_and_empty_tables_are_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    heads = [HeadSpec((level,), 1, 1, 0, p) for level in ("f5", "f1") for p in ("G", "V")]
    builder = ResultsBuilder(tmp_path / "results", maps=True)
    builder.add(heads=heads).add(padding="reflect", heads=heads)
    lines = summary_lines(material(tmp_path / "results").measured)
    assert lines == [
        ["run", "levels", "V", "G"],
        ["vgg16-random-zeros", "f1", ".150", ".150"],
        ["vgg16-random-zeros", "f5", ".750", ".750"],
        ["vgg16-random-reflect", "f1", ".150", ".150"],
        ["vgg16-random-reflect", "f5", ".750", ".750"],
    ]
    page = make_tables(TablesConfig(tmp_path / "results", tmp_path / "out", format=("html",)))
    printed = capsys.readouterr().out
    assert "SPC on natural images, 1 x 1, one layer" in printed
    assert printed.count("nothing measured") == 6  # tables 1 to 4, and the placed ones
    assert len(printed.splitlines()) < 32
    assert printed.rindex("What was measured") > printed.rindex("nothing measured")
    text = page.read_text(encoding="utf-8")
    assert text.index('id="result"') < text.index('id="claims"')


def test_readouts_of_every_shape_stand_in_the_summary(tmp_path: Path):
    every = ("f1", "f2", "f3", "f4", "f5")
    heads = [
        HeadSpec(every, 7, 1, 0, "H"),
        HeadSpec(every, 3, 1, 0, "H"),
        HeadSpec(every, 3, 2, 1, "H"),
        HeadSpec(("f5",), 1, 1, 0, "G"),
    ]
    ResultsBuilder(tmp_path).add(heads=heads)
    measured = material(tmp_path).measured
    lines = summary_lines(measured)
    assert lines[0] == ["run", "levels", "readout", "H", "G"]
    assert [line[1:3] for line in lines[1:]] == [
        ["f5", "1 x 1, one layer"],
        ["all", "3 x 3, one layer"],
        ["all", "3 x 3, 2 layers, readout padding 1"],
        ["all", "7 x 7, one layer"],
    ]
    assert [[cell == "–" for cell in line[3:]] for line in lines[1:]] == [
        [True, False],
        *[[False, True]] * 3,
    ]
    assert summary_title(measured) == "SPC on natural images"


def test_agreement_is_the_rank_correlation_and_mean_difference_over_vggs_cells(tmp_path: Path):
    demo_results(tmp_path)
    found = agreement(material(tmp_path)).set_index("metric")
    published = position_tables()
    keys = ["pattern", "backbone", "backbone_padding", "kernel_size", "depth", "probe_padding"]
    keys += ["levels", "images"]
    rows = published[(published["source"] == "paper") & (published["table"] != "6")]
    rows = rows[rows["backbone"] == "vgg16"].drop_duplicates([*keys, "spc"])
    both = rows.merge(pd.read_csv(tmp_path / "scores.csv"), on=keys, suffixes=("_paper", ""))
    for metric in ("spc", "mae"):
        pair = both[[metric, f"{metric}_paper"]].dropna()
        row = found.loc[metric]
        assert row["n_cells"] == len(pair)
        assert row["rank_correlation"] == pytest.approx(spearmanr(*pair.to_numpy().T).statistic)
        assert row["mean_difference"] == pytest.approx((pair[metric] - pair.iloc[:, 1]).mean())


def test_agreement_with_itself_is_complete(tmp_path: Path):
    paper = position_tables()
    paper = paper[(paper["table"] == "3") & (paper["backbone"] == "vgg16")]
    published = paper.set_index(["pattern", "levels"])[["spc", "mae"]]
    scores = {
        key: tuple(values)
        for key, values in zip(published.index, published.to_numpy(), strict=True)
    }
    heads = [HeadSpec((f"f{n}",), 3, 1, 0, p) for n in range(1, 6) for p in ("H", "G")]
    rule = lambda b, p, head, images: scores[head.pattern, head.levels[0]]  # noqa: E731
    ResultsBuilder(tmp_path, score=rule).add(heads=heads)
    found = agreement(material(tmp_path))
    assert found["n_cells"].tolist() == [10, 10]
    np.testing.assert_allclose(found["rank_correlation"], 1.0)
    np.testing.assert_allclose(found["mean_difference"], 0.0, atol=1e-4)
    assert agreement_lines(found)[0].startswith("SPC of VGG16 beside the published 10 cells")


def test_agreement_counts_the_cells_that_tables_compare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first = [HeadSpec(("f1", "f2", "f3", "f4", "f5"), 3, 1, 0, p) for p in ("H", "G", "HS")]
    paper = position_tables().query("table == '6' and weights == 'saliency'")
    published = {(row.pattern, row.images): (row.spc, row.mae) for row in paper.itertuples()}
    rule = lambda b, p, head, images: published[head.pattern, images]  # noqa: E731
    builder = ResultsBuilder(tmp_path, rule)
    builder.add(weights="saliency", heads=first, black_undefined=False)
    found = agreement(material(tmp_path)).set_index(["condition", "metric"])
    beside_table_6 = [c for c in found.index.levels[0] if "saliency" not in c]
    (row,) = found.loc[[(c, "spc") for c in beside_table_6]].to_dict("records")
    assert row["n_cells"] == 12  # three patterns, four image sets; untrained and ImageNet: none
    assert row["rank_correlation"] == pytest.approx(1.0)
    assert row["mean_difference"] == pytest.approx(0.0, abs=1e-4)

    def own(table: Table, material: Material) -> pd.DataFrame:
        cells = TABLE_1.cells(TABLE_1, material)
        return cells[cells["pattern"] == "H"].assign(condition="of one's own", spc=0.25)

    monkeypatch.setattr(tables, "_ADDED", {"X": replace(TABLE_1, name="X", compared=own)})
    added = agreement(material(tmp_path)).set_index(["condition", "metric"])
    assert added.loc[("of one's own", "spc"), "n_cells"] == 4  # all of one height: no ranks
    assert np.isnan(added.loc[("of one's own", "spc"), "rank_correlation"])
    pd.testing.assert_frame_equal(added.drop(index="of one's own"), found)
