"""Tables 5 and 6 and figure 1: what train-backbone leaves, beside the published values."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from results_builder import ResultsBuilder, demo_results

from analysis.cli import main
from analysis.figures.crops import crops
from analysis.read.measured import measure
from analysis.read.published import position_tables
from analysis.read.results import read_results
from analysis.tables.grid import grids
from analysis.tables.papers.tasks import read_tasks, table_5
from analysis.tables.papers.trained import table_6
from analysis.write.markdown import markdown
from data.tools.errors import UserError

RECIPE = {
    "task": "saliency",
    "model": "vgg16",
    "train_set": "msra",
    "levels": "f3+f4+f5",
    "image_size": 224,
    "normalization": "none",
    "mirror": False,
    "n_train": 9000,
    "n_test": 1000,
    "epochs": 20,
    "best_epoch": 7,
    "precision": "bfloat16",
}


def scores(**changes) -> list[dict]:
    """Rows of tasks.csv: two seeds with padding, one without."""
    rows = []
    for padding, seed, f_measure, mae in (
        ("zeros", 0, 0.75, 0.20),
        ("zeros", 1, 0.79, 0.16),
        ("none", 0, 0.40, 0.45),
    ):
        for metric, value in (("f_measure", f_measure), ("mae", mae), ("crop_slope_x", 0.25)):
            row = {"padding": padding, "seed": seed, "test_set": "ecssd", "metric": metric}
            run = {"value": value, "run": f"{padding}-{seed}"}
            rows.append({**RECIPE, **row, **run, **changes})
    return rows


def write_tasks(folder: Path, rows: list[dict]) -> Path:
    folder.mkdir(exist_ok=True)
    pd.DataFrame(rows).to_csv(folder / "tasks.csv", index=False)
    return folder


def test_a_run_called_by_a_number_keeps_its_name(tmp_path: Path):
    rows = [{**row, "run": "007", "model": "18"} for row in scores()]
    assert set(read_tasks(write_tasks(tmp_path, rows))[["model", "run"]].stack()) == {"007", "18"}


def cell(table: pd.DataFrame, **values) -> pd.Series:
    for name, value in values.items():
        table = table[table[name] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_table_5_stands_beside_the_published_values(tmp_path):
    table = table_5("5a", read_tasks(write_tasks(tmp_path, scores())))
    padded = cell(table, padding="zeros", test_set="ecssd")
    assert padded["f_measure"] == pytest.approx(0.77)
    assert padded["f_measure_sd"] == pytest.approx(np.std([0.75, 0.79], ddof=1))
    assert (padded["published_f_measure"], padded["n_seeds"], padded["fill"]) == (0.78, 2, "")
    assert padded["mae_difference"] == pytest.approx(0.18 - 0.17)
    bare = cell(table, padding="none", test_set="ecssd")
    assert (bare["f_measure"], bare["published_f_measure"]) == (0.4, 0.36)
    missing = cell(table, padding="none", test_set="dut-omron")
    assert np.isnan(missing["f_measure"])
    assert missing["fill"].startswith("train-backbone --task saliency --padding none --data")


def test_table_5_in_words(tmp_path):
    (grid,) = grids(table_5("5a", read_tasks(write_tasks(tmp_path, scores()))))
    text = markdown(grid)
    assert "trained on 9000 images of msra, 224x224, decoder on f3+f4+f5, 20 epochs" in text
    assert "Published: paper, trained on MSRA." in text
    assert "ecssd F" in text
    assert "VGG16 w/o padding" in text
    row = next(line for line in text.splitlines() if line.startswith("| VGG16 w/o padding"))
    assert ".400" in row
    assert ".450" in row
    assert "missing" in row


def test_other_recipes_are_other_blocks(tmp_path):
    rows = scores() + scores(image_size=112, run="small")
    blocks = grids(table_5("5a", read_tasks(write_tasks(tmp_path, rows))))
    assert [block.condition.split(",")[1] for block in blocks] == [" 224x224", " 112x112"]


def test_table_5b_is_in_percent(tmp_path):
    rows = scores(task="segmentation", test_set="voc2012-val", train_set="voc2012-train")
    rows = [{**row, "metric": "miou_percent", "value": 25.25} for row in rows[::3]]
    (grid,) = grids(table_5("5b", read_tasks(write_tasks(tmp_path, rows))))
    text = markdown(grid)
    assert "voc2012-val mIoU %" in text
    assert "25.2" in text
    assert "23.1" in text  # as published
    assert "+2.1" in text or "+2.2" in text


def test_table_5b_shows_test_sets_that_the_paper_lacks(tmp_path):
    rows = scores(task="segmentation", test_set="generated-test", train_set="generated-train")
    rows = [{**row, "metric": "miou_percent", "value": 49.0} for row in rows[::3]]
    (grid,) = grids(table_5("5b", read_tasks(write_tasks(tmp_path, rows))))
    lines = markdown(grid).splitlines()
    ours = next(line for line in lines if line.startswith("| VGG16 w/o padding"))
    assert [cell.strip() for cell in ours.split("|")[3:5]] == ["missing", "49.0"]
    published = next(line for line in lines if "| published " in line)
    assert [cell.strip() for cell in published.split("|")[3:5]] == ["12.3", "–"]


def test_nothing_trained_is_said(tmp_path):
    (grid,) = grids(table_5("5b", read_tasks(tmp_path)))
    assert grid.condition == "nothing measured"
    assert sum(grid.missing.values()) == 2


def test_damaged_scores_are_refused(tmp_path):
    write_tasks(tmp_path, [{"task": "saliency", "value": 1}])
    with pytest.raises(UserError, match=r"tasks\.csv is damaged"):
        read_tasks(tmp_path)
    write_tasks(tmp_path, scores(value="much"))
    with pytest.raises(UserError, match=r"tasks\.csv is damaged"):
        read_tasks(tmp_path)


def trained_results(folder: Path) -> Path:
    def score(backbone, padding, head, images):
        return {"H": 0.5, "G": 0.6}.get(head.pattern, 0.4), 0.1

    def better(backbone, padding, head, images):
        return 0.9, 0.05

    def best(backbone, padding, head, images):
        return 0.8, 0.03

    ResultsBuilder(folder, score).add(weights="random")
    ResultsBuilder(folder, better).add(weights="saliency", run="vgg16-saliency-zeros")
    ResultsBuilder(folder, best).add(weights="saliency-seed1", run="vgg16-saliency-seed1-zeros")
    return folder


def test_table_6_sets_trained_beside_untrained(tmp_path):
    results = read_results(trained_results(tmp_path))
    table = table_6(results, measure(results))
    assert table["condition"].nunique() == 1
    untrained = cell(table, pattern="H", weights="random", images="test")
    assert untrained["spc"] == pytest.approx(0.5, abs=1e-5)
    assert np.isnan(untrained["published_spc"])
    trained = cell(table, pattern="H", weights="saliency", images="test")
    assert trained["spc"] == pytest.approx(0.85, abs=1e-5)  # of two backbones
    assert trained["spc_sd"] == pytest.approx(np.std([0.9, 0.8], ddof=1), abs=1e-5)
    assert trained["spc_low"] < 0.85 < trained["spc_high"]
    assert (trained["n_seeds"], trained["published_spc"]) == (2, 0.969)
    missing = cell(table, pattern="H", weights="segmentation", images="test")
    assert missing["fill"].startswith("train-backbone --task segmentation")
    text = "".join(markdown(grid) for grid in grids(table))
    assert "VGG16-SOD" in text
    assert "VGG16, untrained" in text


def test_every_published_number_of_table_6_is_in_its_cell(tmp_path):
    for weights in ("imagenet", "saliency", "segmentation"):
        ResultsBuilder(tmp_path).add(weights=weights, run=f"vgg16-{weights}-zeros")
    results = read_results(tmp_path)
    table = table_6(results, measure(results))
    rows = position_tables().query("table == '6'")
    assert len(rows) == 36
    for row in rows.itertuples():
        images = "test" if row.images == "pascal-s" else row.images
        shown = cell(table, pattern=row.pattern, weights=row.weights, images=images)
        assert shown["published_spc"] == row.spc
        assert shown["published_mae"] == row.mae
    assert table["published_spc"].notna().sum() == 36


def write_crops(folder: Path) -> None:
    for row in scores()[2::3]:
        run = folder / "tasks" / row["run"]
        run.mkdir(parents=True)
        np.savez(
            run / "ecssd-crops.npz",
            shifts=np.array([-8, 0, 8]),
            crops=np.zeros((4, 3, 32, 32, 3), np.uint8),
            maps=np.zeros((4, 3, 32, 32), np.float16),
        )


def test_figure_1_shows_a_run_of_each_padding(tmp_path):
    write_crops(write_tasks(tmp_path, scores()))
    texts = [text.get_text() for text in crops(tmp_path).axes[0].texts]
    # As the paper: an image and its crop side by side, each with its saliency.
    assert texts[:4] == ["image", "saliency", "its crop,\n+8 pixels", "saliency"]
    assert texts.count("VGG16") == texts.count("VGG16 w/o padding") == 2  # images of each
    assert "moves .250\nper pixel" in texts


def test_without_crops_the_figure_says_so(tmp_path):
    (figure_text,) = crops(tmp_path).texts
    assert "train-backbone --task saliency" in figure_text.get_text()


def test_the_command_writes_them_where_they_were_measured(tmp_path):
    results = tmp_path / "results"
    demo_results(results)
    arguments = ["--results-dir", str(results), "--out", str(tmp_path / "out"), "--format", "md"]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert not list((tmp_path / "out").glob("table_[56]*.md"))
    write_tasks(results, scores())
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0
    assert "Table 5a." in done.stdout
    assert (tmp_path / "out" / "table_5a.md").exists()
    chosen = CliRunner().invoke(main, [*arguments, "--table", "6"])
    assert chosen.exit_code == 0
    assert "train-backbone --task saliency" in chosen.stdout


def test_table_6_takes_weights_of_ones_own(tmp_path):
    for weights in ("hed", "saliency"):
        ResultsBuilder(tmp_path).add(weights=weights, run=f"vgg16-{weights}-zeros")
    results = read_results(tmp_path)
    table = table_6(results, measure(results))
    order = list(dict.fromkeys(table["weights"]))
    assert order == ["imagenet", "saliency", "segmentation", "hed"]
