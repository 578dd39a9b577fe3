"""Reading results: what is damaged is refused, by file and row."""

import json
from pathlib import Path

import pandas as pd
import pytest
from results_builder import ResultsBuilder, demo_results

from analysis.read.results import read_results
from data.tools.errors import UserError

RUN = "vgg16-random-zeros"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    demo_results(tmp_path)
    return tmp_path


def edit(path: Path, row: int, column: str, value: str) -> None:
    """Change one cell; `row` counts like a spreadsheet, the header is 1."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[row - 2, column] = value
    table.to_csv(path, index=False)


def test_whole_results_are_read(folder: Path):
    results = read_results(folder)
    assert set(results.runs) == {RUN, "vgg16-random-none", "pixels"}
    assert len(results.scores) == 4 * (27 + 3 + 23)
    assert len(results.image_scores) == (64 + 1 + 1 + 8) * (27 + 3 + 23)
    assert results.losses.groupby(["run", "head"]).size().eq(15).all()
    assert results.scores["kernel_size"].dtype.kind == "i"
    black = results.scores[results.scores["images"] == "black"]
    assert black["spc"].isna().all()


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("spc", "high", "spc is 'high'"),
        ("spc", "1.4", "spc is '1.4'"),
        ("mae", "-0.1", "mae is '-0.1'"),
        ("kernel_size", "3.5", "kernel_size is '3.5'"),
        ("pattern", "Q", "not one of H, V, G, HS, VS"),
        ("images", "train", "not one of test, black, white, noise"),
        ("status", "fine", "not one of converged"),
        ("run", "../elsewhere", "not a folder's name"),
        ("backbone", "", "backbone is ''"),
        ("spc", "0.999", "spc is 0.999, but pixels/image_scores.csv gives"),
        ("n_images", "63", "n_images is 63"),
    ],
)
def test_an_edited_score_is_named(folder: Path, column: str, value: str, said: str):
    edit(folder / "scores.csv", 7, column, value)
    with pytest.raises(UserError, match=r"scores\.csv, row") as caught:
        read_results(folder)
    assert "row 7:" in str(caught.value)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_edited_image_score_is_named(folder: Path):
    path = folder / RUN / "image_scores.csv"
    edit(path, 12, "mae", "zero")
    with pytest.raises(UserError, match=r"vgg16-random-zeros/image_scores\.csv, row 12: mae"):
        read_results(folder)


def test_a_repeated_row_is_named(folder: Path):
    path = folder / "scores.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines, lines[3]]))
    with pytest.raises(UserError, match=f"row {len(lines) + 1}: .* is there twice"):
        read_results(folder)


@pytest.mark.parametrize("name", ["run.json", "image_scores.csv", "losses.csv"])
def test_a_missing_file_means_half_written(folder: Path, name: str):
    (folder / RUN / name).unlink()
    with pytest.raises(UserError, match=rf"{name} is missing, so the results are half written"):
        read_results(folder)


def test_a_head_without_image_scores_means_half_written(folder: Path):
    path = folder / RUN / "image_scores.csv"
    table = pd.read_csv(path)
    table[table["head"] != table["head"].iloc[0]].to_csv(path, index=False)
    with pytest.raises(UserError, match=r"scores\.csv, row \d+: head .* half written"):
        read_results(folder)


def test_a_truncated_file_is_refused(folder: Path):
    path = folder / RUN / "image_scores.csv"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(UserError, match=r"image_scores\.csv"):
        read_results(folder)


def test_another_version_is_refused(folder: Path):
    path = folder / RUN / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 99}))
    with pytest.raises(UserError, match="schema 99 was written by another version"):
        read_results(folder)


def test_an_older_column_set_is_refused(folder: Path):
    path = folder / "scores.csv"
    pd.read_csv(path).drop(columns="n_undefined").to_csv(path, index=False)
    with pytest.raises(UserError, match="row 1: no column n_undefined"):
        read_results(folder)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"schema": 1, "cache": 3}'])
def test_a_damaged_run_file_is_named(folder: Path, text: str):
    (folder / RUN / "run.json").write_text(text)
    with pytest.raises(UserError, match=r"run\.json"):
        read_results(folder)


def test_no_results_says_what_to_run(tmp_path: Path):
    with pytest.raises(UserError, match="run train-probes first"):
        read_results(tmp_path / "nowhere")


def test_empty_scores_are_refused(folder: Path):
    path = folder / "scores.csv"
    path.write_text(path.read_text().splitlines()[0] + "\n")
    with pytest.raises(UserError, match="no row"):
        read_results(folder)
    path.write_text("")
    with pytest.raises(UserError, match=r"scores\.csv"):
        read_results(folder)


def test_a_diverged_head_may_lack_scores(tmp_path: Path):
    nothing = float("nan"), float("nan")
    builder = ResultsBuilder(tmp_path, score=lambda *_: nothing)
    builder.add(padding="none", status="diverged")
    assert read_results(tmp_path).scores["mae"].isna().all()
