"""A table and a metric from outside the packages: seen in tables and report."""

import re
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from results_builder import ResultsBuilder, demo_results

from analysis.claims.claim import Claim, Comparison, Reading
from analysis.claims.verdicts import compare_readings, decide
from analysis.config import TablesConfig
from analysis.make import make_tables
from analysis.read.results import read_results
from analysis.tables import table as tables
from analysis.tables.compare import compare, joined
from analysis.tables.table import Table, add_table, find_tables
from data.tools.errors import UserError
from probe.heads.spec import HeadSpec
from probe.metrics import METRICS, Metric
from probe.scoring import score_maps

LEVELS = ("f1", "f2", "f3", "f4", "f5")


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test adds is gone after it."""
    monkeypatch.setattr(tables, "_ADDED", dict(tables._ADDED))
    monkeypatch.setitem(METRICS, "largest", None)
    del METRICS["largest"]


def own_table(folder: Path) -> Table:
    published = folder / "published.csv"
    published.write_text(
        "source,table,pattern,backbone,weights,backbone_padding,levels,kernel_size,depth,"
        "probe_padding,images,spc,mae\n"
        "others,X1,V,vgg16,imagenet,zeros,f4,5,1,0,test,0.625,0.125\n"
        "others,X1,V,vgg16,imagenet,zeros,f5,5,1,0,test,0.875,0.1\n"
        "others,X2,V,vgg16,imagenet,zeros,f5,7,1,0,test,0.9,0.1\n"
    )
    return Table(
        "X1",
        "Larger windows on single levels",
        ("pattern", "reads"),
        "backbone",
        joined,
        "Somebody and others (2027)",
        published=published,
        heads={"kernel_size": (5,), "depth": (1,), "pattern": ("V",), "images": ("test",)},
        claims=(
            Claim(
                "wide_windows",
                "A wide window reads V from f4",
                (Comparison("V: f4 minus 0", Reading("V", reads="f4", kernel_size=5), None),),
            ),
        ),
    )


def test_a_table_from_outside_stands_with_the_others(tmp_path: Path, capsys):
    add_table(own_table(tmp_path))
    assert list(find_tables())[-1] == "X1"
    heads = [HeadSpec(("f4",), 5, 1, 0, "V"), HeadSpec(("f5",), 3, 1, 0, "V")]
    ResultsBuilder(tmp_path / "results", maps=True).add(heads=heads)
    cells = compare("X1", read_results(tmp_path / "results"))
    assert cells["reads"].tolist() == ["f4", "f5"]
    assert cells["published_spc"].tolist() == [0.625, 0.875]
    assert cells["spc"].iloc[0] == pytest.approx(0.6, abs=1e-5)  # the builder's rule
    command = (
        "train-probes --backbone vgg16 --levels f5 --kernel-size 5 --depth 1 --probe-padding 0"
    )
    assert cells["fill"].tolist()[0] == ""
    assert cells["fill"].tolist()[1].startswith(f"{command} --pattern V")
    config = TablesConfig(tmp_path / "results", tmp_path / "out", format=("md", "csv", "html"))
    page = make_tables(config).read_text()
    printed = capsys.readouterr().out
    for text in (printed, page, (tmp_path / "out" / "table_X1.md").read_text()):
        assert "Larger windows on single levels" in text
        assert "Somebody and others (2027)" in text
        assert ".625" in text
    claims = decide(compare_readings(read_results(tmp_path / "results")))
    assert claims.set_index("claim").loc["wide_windows", "verdict"] == "holds"
    assert "A wide window reads V from f4" in page
    chosen = TablesConfig(tmp_path / "results", tmp_path / "one", table=("X1",), format=("csv",))
    make_tables(chosen)
    assert [path.name for path in (tmp_path / "one").glob("table_*")] == ["table_X1.csv"]


def example(name: str) -> str:
    """The block of CONTRIBUTING.md that has `name`."""
    text = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    block = next(part for part in text.split("```") if name in part)
    return textwrap.dedent(block.removeprefix("python\n"))


def test_the_table_that_contributing_shows_is_one(tmp_path: Path, monkeypatch):
    own_table(tmp_path).published.rename(tmp_path / "windows.csv")
    monkeypatch.chdir(tmp_path)
    exec(
        example("WINDOWS"), {"Table": Table, "joined": joined, "add_table": add_table, "Path": Path}
    )
    ResultsBuilder(tmp_path / "results").add(heads=[HeadSpec(("f4",), 5, 1, 0, "V")])
    cells = compare("X1", read_results(tmp_path / "results"))
    assert cells["published_spc"].tolist() == [0.625, 0.875]
    assert cells["spc"].iloc[0] == pytest.approx(0.6, abs=1e-5)


def test_a_metric_from_outside_has_its_column_its_interval_and_its_place(tmp_path: Path):
    builder = demo_results(tmp_path / "results", maps=True)
    exec(example("largest_error"), {"np": np, "METRICS": METRICS, "Metric": Metric})
    generator = np.random.default_rng(0)
    target, outputs = generator.random((8, 8)), np.float32(generator.random((5, 8, 8)))
    scored = score_maps(outputs, target).metrics["largest"]
    np.testing.assert_allclose(scored, np.abs(outputs - target).max(axis=(1, 2)), rtol=1e-6)
    # Of results that lack it, nothing is shown; where it was scored, it stands beside the others.
    config = TablesConfig(builder.folder, tmp_path / "before", format=("md",))
    assert "largest error" not in (make_tables(config) / "table_1.md").read_text()
    for path in builder.folder.glob("*/image_scores.csv"):
        images = pd.read_csv(path)
        images.assign(largest=0.375).to_csv(path, index=False)
    for path in (builder.folder / "scores.csv", *builder.folder.glob("*/scores.csv")):
        scores = pd.read_csv(path, dtype=str, keep_default_na=False)
        scores.assign(largest="0.375").to_csv(path, index=False)
    config = TablesConfig(builder.folder, tmp_path / "after", format=("md", "csv", "html"))
    page = make_tables(config).read_text()
    text = (tmp_path / "after" / "table_1.md").read_text()
    assert "natural largest error" in re.sub(r"natural SPC \| +MAE \| +", "natural ", text)
    assert ".375" in text
    assert "largest error" in page
    table = pd.read_csv(tmp_path / "after" / "table_1.csv")
    measured = table[table["n_images"] > 0]
    assert (measured["largest"] == 0.375).all()
    assert measured.loc[measured["images"] == "test", "largest_low"].notna().all()
    path = next(builder.folder.glob("*/image_scores.csv"))
    pd.read_csv(path).assign(largest=1.5).to_csv(path, index=False)
    with pytest.raises(UserError, match=r"largest is '1\.5', not a number from 0 to 1"):
        read_results(builder.folder)
