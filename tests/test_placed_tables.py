"""Tables K4, S1, D, C and L, beside the published numbers."""

import csv
from pathlib import Path

import pandas as pd
import pytest
from placed_builder import PlacedBuilder, write_ablations, write_segmentation
from results_builder import demo_results

from analysis.config import TablesConfig
from analysis.make import make_tables
from analysis.placed.figures import segmentation_by_level
from analysis.placed.read import read_placed, read_segmentation
from analysis.placed.tables.segmentation import segmentation_rows
from data.tools.errors import UserError

PUBLISHED = Path(__file__).parents[1] / "analysis" / "published" / "placed_tables.csv"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("placed")
    demo_results(folder)
    builder = PlacedBuilder().grid(3, classes=True).grid(7, classes=True).corners()
    for padding in ("circular", "reflect"):
        builder.grid(3, backbone_padding=padding)
    builder.grid(3, canvas="white").corners(backbone="densenet121")
    builder.write(folder)
    write_ablations(folder)
    write_segmentation(folder)
    return folder


@pytest.fixture(scope="module")
def tables(folder: Path) -> Path:
    config = TablesConfig(results_dir=folder, out=folder / "tables", format=("md", "csv", "tex"))
    make_tables(config)
    return folder / "tables"


def read(path: Path) -> list[dict[str, str]]:
    """Every line of the Markdown tables of a file: labels filled down, the kind of the line."""
    lines = []
    for block in path.read_text().split("###")[1:]:
        rows = [
            [text.strip() for text in line.strip("|").split("|")]
            for line in block.splitlines()
            if line.startswith("|")
        ]
        header, labels = rows[0], rows[0].index("")
        names = [""] * labels
        for row in rows[2:]:
            names = row[:labels] if row[0] else names
            cells = dict(zip(header[labels + 1 :], row[labels + 1 :], strict=True))
            lines.append(
                {"line": row[labels], **dict(zip(header[:labels], names, strict=True)), **cells}
            )
    return lines


def published_rows(table: str) -> list[dict[str, str]]:
    with PUBLISHED.open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["table"] == table]


def test_every_published_accuracy_stands_in_its_cell(tables: Path):
    seen = 0
    for row in published_rows("K4"):
        weights = "untrained" if row["weights"] == "random" else row["weights"]
        (line,) = {
            tuple(sorted(line.items()))
            for line in read(tables / "table_K4.md")
            if line["line"] == "published"
            and line["network"] == f"{row['network']}, {weights}"
            and line["pooling"] == row["pooling"]
        }
        assert dict(line)[f"{row['column']} accuracy %"] == f"{float(row['value']):.1f}"
        seen += 1
    for row in published_rows("S1"):
        found = [
            line
            for line in read(tables / "table_S1.md")
            if line["line"] == "published"
            and line["network"] == row["network"]
            and line["reading"] == row["reading"]
        ]
        assert found
        for line in found:
            assert line["kind"] == "trained for the task on CIFAR-10"
            assert line[f"{row['column']} accuracy %"] == f"{float(row['value']):.1f}"
        seen += 1
    assert seen == len(PUBLISHED.read_text().splitlines()) - 1 == 32


def test_no_frozen_network_stands_in_a_cell_of_cifar(tables: Path):
    cells = pd.read_csv(tables / "table_S1.csv")
    both = cells["accuracy_percent"].notna() & cells["published_accuracy_percent"].notna()
    assert not both.any()
    ours = cells[cells["accuracy_percent"].notna()]
    assert set(ours["kind"]) == {"frozen"}
    assert ours["published_accuracy_percent"].isna().all()
    assert cells["fill"].isna().all()


def test_s1_gives_accuracy_above_chance(tables: Path):
    cells = pd.read_csv(tables / "table_S1.csv")
    row = cells[(cells["network"] == "resnet18-permutenet") & (cells["column"] == "location 3x3")]
    expected = 100 * (0.788 - 1 / 9) / (1 - 1 / 9)
    assert row["published_above_chance_percent"].iloc[0] == pytest.approx(expected, abs=1e-3)
    ours = cells[cells["kind"] == "frozen"].query(
        "reading == 'ordered' and column == 'location 7x7' and network == 'resnet18, untrained'"
    )
    assert set(ours["above_chance_percent"].dropna().round(6)) == {90.0}


def test_k4_sets_ours_beside_the_published_only_where_the_network_is_the_same(tables: Path):
    cells = pd.read_csv(tables / "table_K4.csv")
    (row,) = cells.query(
        "network == 'resnet18, untrained' and pooling == 'max' and border == 64"
    ).itertuples()
    assert (row.accuracy_percent, row.published_accuracy_percent) == (80.0, 80.5)
    assert row.accuracy_percent_difference == pytest.approx(-0.5)
    trained = cells[cells["network"] == "resnet18, trained for the task"]
    assert trained["accuracy_percent"].isna().all()
    imagenet = cells[(cells["network"] == "resnet18, imagenet") & (cells["border"] == 0)]
    assert imagenet["fill"].str.contains("--weights imagenet --placed corners --border 0").all()
    text = (tables / "table_K4.md").read_text()
    assert "cells missing: `extract-features --backbone resnet18 --weights imagenet" in text


@pytest.mark.parametrize(
    ("study", "usual", "other"), [("corners", "placed", "whole"), ("grid", "whole", "placed")]
)
def test_unusual_statistics_are_a_condition(tmp_path: Path, study: str, usual: str, other: str):
    builder = PlacedBuilder()
    for statistics in (usual, other):
        getattr(builder, study)(calibration=statistics)
    builder.write(tmp_path)
    rows = read_placed(tmp_path)
    assert set(rows["network"]) == {"resnet18, untrained"}  # no run had to be named
    named = rows["condition"].str.contains(f"statistics of {other} images, ")
    assert (named == (rows["calibration"] == other)).all()
    assert not rows["condition"].str.contains(f"statistics of {usual} images").any()
    path = tmp_path / "placed.csv"  # as an older version wrote it
    text = pd.read_csv(path, dtype=str, keep_default_na=False)
    text[text["calibration"] == usual].drop(columns="calibration").to_csv(path, index=False)
    assert set(read_placed(tmp_path)["calibration"]) == {""}


def test_corners_of_two_canvases_stand_in_blocks_of_their_own(tmp_path: Path):
    PlacedBuilder().corners().corners(gap=0).write(tmp_path)
    path = tmp_path / "placed.csv"
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert set(read_placed(tmp_path)["gap"]) == {0, 8}
    make_tables(TablesConfig(results_dir=tmp_path, out=tmp_path / "tables", format=("csv",)))
    cells = pd.read_csv(tmp_path / "tables" / "table_K4.csv")
    blocks = cells.loc[cells["accuracy_percent"].notna(), "condition"].unique()
    assert ["8 pixels apart" in block for block in blocks] == [True, False]
    rows[rows["gap"] == "0"].drop(columns="gap").to_csv(path, index=False)
    assert set(read_placed(tmp_path)["gap"]) == {0}  # of an older version


def test_d_shows_paddings_by_canvas_and_ring(tables: Path):
    lines = [line for line in read(tables / "table_D.md") if line["line"] == "ours"]
    (circular,) = [
        line
        for line in lines
        if line["network"] == "resnet18, untrained, circular padding"
        and line["ring"] == "all cells"
    ]
    assert circular["black accuracy %"] == "11.1"
    assert circular["white accuracy %"] == "–"
    inner = [line for line in lines if line["ring"] == "32 pixels from the border"]
    assert {line["network"] for line in inner} >= {"resnet18, untrained"}


def test_c_sets_the_top_channels_beside_random_ones(tables: Path):
    lines = [line for line in read(tables / "table_C.md") if line["line"] == "ours"]
    found = {(line["head"], line["which"]): line for line in lines}
    assert found["head kept", "top"]["100 %"] == "50.0"
    assert found["head kept", "random"]["100 %"] == "45.0"
    assert found["solved again without them", "top"]["0 %"] == "100.0"
    assert found["solved from them alone", "random"]["0 %"] == "–"


def test_l_shows_what_is_drawn_by_level_ring_and_target(tables: Path):
    lines = [line for line in read(tables / "table_L.md") if line["line"] == "ours"]
    found = {(line["network"], line["level"], line["ring"]): line for line in lines}
    assert len(lines) == len(found) == 2 * 2 * 3
    network = "own, untrained"
    assert found[network, "f2", "all cells"]["class mIoU %"] == "80.0"
    assert found[network, "f2", "all cells"]["class and half mIoU %"] == "60.0"
    assert found[network, "f1", "ring 1"]["class and half mIoU %"] == "30.0"
    circular = found["own, untrained, circular padding", "f2", "all cells"]
    assert circular["class and half mIoU %"] == "40.0"


def test_the_segmentation_is_drawn_as_it_was_measured(folder: Path):
    figure = segmentation_by_level(folder)
    assert [panel.get_title("left") for panel in figure.axes] == ["class", "class and half"]
    lines = {line.get_label(): line for line in figure.axes[1].get_lines()}
    assert list(lines["own, untrained"].get_ydata()) == [0.4, 0.6]
    assert list(lines["own, untrained, circular padding"].get_ydata()) == [0.4, 0.4]


def test_segmentations_that_do_not_name_their_images_are_read(tmp_path: Path):
    write_segmentation(tmp_path)
    before = read_segmentation(tmp_path)
    path = tmp_path / "segmentation.csv"
    pd.read_csv(path, dtype=str).drop(columns="images").to_csv(path, index=False)
    now = read_segmentation(tmp_path)
    pd.testing.assert_frame_equal(now.drop(columns="images"), before.drop(columns="images"))
    assert set(segmentation_rows(now)["condition"]) == {"1x1 heads on aligned maps, 8 test patches"}


def test_studies_without_scores_of_maps_make_their_tables_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    PlacedBuilder().grid(3).write(tmp_path)
    make_tables(TablesConfig(results_dir=tmp_path, out=tmp_path / "tables"))
    assert "Table S1." in capsys.readouterr().out
    assert (tmp_path / "tables" / "table_S1.md").exists()


def test_without_placed_studies_their_tables_are_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    demo_results(tmp_path)
    make_tables(TablesConfig(results_dir=tmp_path, out=tmp_path / "tables", format=("md",)))
    assert not (tmp_path / "tables" / "table_S1.md").exists()
    assert "Tables K4, S1, D, C and L, " in capsys.readouterr().out


def test_a_damaged_file_is_named_with_its_row(tmp_path: Path):
    PlacedBuilder().grid(3).write(tmp_path)
    path = tmp_path / "placed.csv"
    path.write_text(path.read_text().replace(",mean,location,", ",median,location,", 1))
    with pytest.raises(UserError, match=r"placed\.csv, row 2: pooling is 'median'"):
        read_placed(tmp_path)
