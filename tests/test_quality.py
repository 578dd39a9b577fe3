"""Tables and figure of what scores rest on."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from results_builder import demo_results

from analysis.figures.learning_curve import learning_curve
from analysis.read.measured import measure
from analysis.read.results import Results, read_results
from analysis.tables.quality import quality_lines, quality_tables
from analysis.write.markdown import quality_markdown
from data.tools.errors import UserError

RUN = "vgg16-random-zeros"
HEAD = "H-f1+f2+f3+f4+f5-k3-d1-p0-s0"


@pytest.fixture
def results(tmp_path: Path) -> Results:
    demo_results(tmp_path)
    for path in (tmp_path / RUN / "scores.csv", tmp_path / "scores.csv"):
        table = pd.read_csv(path, keep_default_na=False, dtype=str)
        chosen = (table["run"] == RUN) & (table["head"] == HEAD)
        table.loc[chosen, ["r2", "control_spc", "selectivity", "optimum_gap"]] = [
            *("0.5", "0.25", "0.375", "0.0625")
        ]
        table.to_csv(path, index=False)
    curve = pd.DataFrame(
        {"head": HEAD, "n_train": [10, 256], "spc": [0.5, 0.75], "mae": 0.1, "heldout_loss": 0.01}
    )
    curve.to_csv(tmp_path / RUN / "learning_curve.csv", index=False)
    return read_results(tmp_path)


def test_tables_hold_what_was_written(results: Results):
    quality, curve, compared = quality_tables(results, measure(results))
    assert compared.name == "compare"
    assert len(quality.rows) == results.scores.drop_duplicates(["run", "head"]).shape[0]
    row = quality.rows.query("r2 == 0.5").iloc[0]
    assert (row["run"], row["pattern"], row["kernel_size"]) == (RUN, "H", 3)
    assert row[["control_spc", "selectivity", "optimum_gap"]].tolist() == [0.25, 0.375, 0.0625]
    assert quality.rows["r2"].notna().sum() == 1
    assert curve.rows[["n_train", "spc"]].to_numpy().tolist() == [[10, 0.5], [256, 0.75]]
    assert "6.2 %" in quality_markdown(quality)
    assert "–" in quality_markdown(quality)


def test_columns_nobody_measured_are_left_out(tmp_path: Path):
    demo_results(tmp_path)
    plain = read_results(tmp_path)
    quality, _ = quality_tables(plain, measure(plain))
    assert "R2" not in quality_lines(quality)[0]
    assert "SPC" in quality_lines(quality)[0]


def test_filter_narrows_the_tables(results: Results):
    measured = measure(results)
    (quality,) = quality_tables(results, measured[measured["backbone"] == "pixels"])
    assert set(quality.rows["run"]) == {"pixels"}


def test_curve_is_drawn_where_it_was_measured(results: Results):
    measured = measure(results)
    (panel,) = learning_curve(results, measured).axes
    assert panel.get_title(loc="left") == "H"
    (line,) = panel.lines
    np.testing.assert_array_equal(line.get_xdata(), [10, 256])
    np.testing.assert_array_equal(line.get_ydata(), [0.5, 0.75])
    empty = learning_curve(results, measured[measured["backbone"] == "pixels"])
    assert not empty.axes
    assert "--learning-curve" in empty.texts[0].get_text()


def test_damaged_curve_is_refused(results: Results):
    path = results.folder / RUN / "learning_curve.csv"
    path.write_text(path.read_text().replace("256", "many"))
    with pytest.raises(UserError, match=r"learning_curve\.csv, row 3: n_train is 'many'"):
        read_results(results.folder)
