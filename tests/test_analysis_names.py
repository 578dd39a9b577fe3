"""Names are data: whatever stands in one, files stay readable and nothing is steered by it."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from results_builder import COUNTS, ResultsBuilder

from analysis.config import TablesConfig
from analysis.figures.learning_curve import learning_curve
from analysis.figures.scores import spc_by_level
from analysis.figures.style import save
from analysis.make import make_tables
from analysis.read.measured import measure
from analysis.read.results import read_results
from analysis.write.csv import csv_text
from analysis.write.markdown import plain
from probe.heads.spec import HeadSpec

ESCAPE = "\x1b]0;owned\x07"
WILD = f"{ESCAPE}<script>alert(1)</script>[x](http://evil)"


def test_nothing_written_or_printed_steers_a_terminal_or_a_browser(tmp_path: Path, capsys):
    builder = ResultsBuilder(tmp_path / "results", maps=True)
    heads = [HeadSpec(("f5",), 3, 1, 0, "H"), HeadSpec(("f1",), 3, 1, 0, "H")]
    sources = {"train": f"/data/数据/{WILD}", "test": WILD}
    builder.add(WILD, weights=WILD, heads=heads, run="wild\x1b数据", sources=sources)
    out = tmp_path / "tables"
    make_tables(TablesConfig(tmp_path / "results", out, format=("md", "html")))
    make_tables(TablesConfig(tmp_path / "results", out, claims=True))
    make_tables(TablesConfig(tmp_path / "results", out, compare=True))
    printed = capsys.readouterr().out
    assert "alert(1)" in printed
    for text in (printed, *(path.read_text() for path in out.glob("*.*") if path.suffix != ".csv")):
        assert "\x1b" not in text
        assert "\x07" not in text
    for text in (printed, *(path.read_text() for path in out.glob("*.md"))):
        assert "<script" not in text
        assert "[x](" not in text.replace("\\[x](", "")


@pytest.mark.parametrize("name", ["a\rb", "a\nb", 'a"b', "a,b", "a\r\nb", "=1+1"])
def test_any_name_reads_back_from_csv(name: str):
    table = pd.DataFrame({"image": [name, "plain"], "spc": [0.25, np.nan], "n": [1, 2]})
    text = csv_text(table)
    pd.testing.assert_frame_equal(pd.read_csv(io.StringIO(text, newline="")), table)
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert [row[0] for row in rows] == ["image", name, "plain"]


def test_dollars_in_names_are_no_mathematics(tmp_path: Path):
    run = r"my$\alpha$net$\nosuchcommand$"
    ResultsBuilder(tmp_path).add("own", run=run)
    results = read_results(tmp_path)
    target = io.BytesIO()
    figure = spc_by_level(measure(results))
    save(figure, target, "svg")
    drawn = [text for legend in figure.legends for text in legend.get_texts()]
    assert any(text.get_text().startswith("my$") for text in drawn)
    assert not any(text.get_parse_math() for text in drawn)


def test_numbers_on_a_logarithmic_axis_are_plain(tmp_path: Path):
    ResultsBuilder(tmp_path).add(heads=[HeadSpec(("f5",), 1, 1, 0, "H")])
    head = "H-f5-k1-d1-p0-s0"
    curve = {"head": head, "n_train": [10, 100], "spc": [0.5, 0.75], "mae": 0.1, "heldout_loss": 0}
    pd.DataFrame(curve).to_csv(tmp_path / "vgg16-random-zeros" / "learning_curve.csv", index=False)
    results = read_results(tmp_path)
    figure = learning_curve(results, measure(results))
    save(figure, io.BytesIO(), "png")
    shown = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert {"10", "100"} <= set(shown)
    assert not any("$" in text for text in shown)


def test_plain_text_ends_no_cell_and_starts_no_tag():
    assert plain("a|b<c>\x1b[2J\r\n[d](e)") == "a\\|b&lt;c>\\x1b\\[2J\\r\\n\\[d](e)"


def test_commands_name_the_folder_that_the_caches_were_in(tmp_path: Path):
    folder = tmp_path / "results"
    counts = {**COUNTS, "test": 6}
    ResultsBuilder(folder).add(heads=[HeadSpec(("f5",), 3, 1, 0, "H")], counts=counts)
    path = folder / "vgg16-random-zeros" / "run.json"
    settings = json.loads(path.read_text())
    settings["about"]["cache_dir"] = "my caches"
    path.write_text(json.dumps(settings))
    make_tables(TablesConfig(folder, tmp_path / "tables", format=("csv",)))
    fills = pd.read_csv(tmp_path / "tables" / "table_1.csv", keep_default_na=False)["fill"]
    assert any(fills)
    assert all("--cache-dir 'my caches'" in fill for fill in fills if fill)
