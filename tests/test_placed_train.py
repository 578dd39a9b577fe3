"""The stage of placed studies: accuracies on disk."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data.cache.pooled.members import POOLED
from data.cache.pooled.reader import PooledCache
from data.intervals import bootstrap_interval
from data.tools.errors import UserError
from extract.backbones.backbone import load_backbone
from extract.placed.run import extract_placed
from probe.cli import main
from probe.placed.config import PlacedProbeConfig
from probe.placed.train import train_placed
from tests.extraction import contents
from tests.placed_caches import config, wrapped

pytestmark = pytest.mark.usefixtures("one_thread")

COLUMNS = [
    *("study", "backbone", "weights", "backbone_padding", "level", "pooling", "task", "reading"),
    *("solver", "grid", "border", "canvas", "patches", "patch_size", "accuracy", "chance", "low"),
    *("high", "ring", "n_train_patches", "n_test_patches", "permutations", "seed", "run"),
]


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shapes in a network with zeros around its maps, and without a border."""
    folder = tmp_path_factory.mktemp("caches")
    for padding in ("zeros", "circular"):
        options = {"patches": "shapes", "patch_limit": 60, "padding": padding}
        extract_placed(config(folder, **options), wrapped(padding))
    return folder


def train(caches: Path, results: Path, **options: Any) -> pd.DataFrame:
    given = {"cache_dir": caches, "results_dir": results, "threads": 1}
    path = train_placed(PlacedProbeConfig(**given | options))
    return pd.read_csv(path, keep_default_na=False)


@pytest.fixture(scope="module")
def results(caches: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    train(caches, folder)
    return folder


@pytest.fixture
def rows(results: Path) -> pd.DataFrame:
    return pd.read_csv(results / "placed.csv", keep_default_na=False)


def test_every_reading_has_a_row_for_all_cells_and_for_each_ring(rows: pd.DataFrame):
    assert list(rows)[: len(COLUMNS)] == COLUMNS
    heads = rows.groupby(["run", "level", "pooling", "task", "reading", "solver"])["ring"]
    assert set(heads.agg(",".join)) == {",0,1"}
    deep = rows[(rows.level == "f2") & (rows.backbone_padding == "zeros") & (rows.ring == "")]
    assert len(deep) == 2 * 3 * 5 * 2  # poolings, tasks, readings, solvers
    assert set(rows[rows.level == "input"].reading) == {"input"}
    assert (rows.permutations == np.where(rows.reading == "permuted", 9, 0)).all()
    # 60 patches; of classes 0 to 8 alone, nine in ten of them.
    location, matched = (rows[rows.task == task].iloc[0] for task in ("location", "class-9"))
    assert (location.n_train_patches, location.n_test_patches) == (42, 12)
    assert matched.n_train_patches + matched.n_test_patches < 54
    chances = rows.groupby("task").chance.first().to_dict()
    assert chances == pytest.approx({"location": 1 / 9, "class": 1 / 10, "class-9": 1 / 9}, 1e-5)


def test_an_accuracy_is_the_mean_over_test_patches_and_so_is_its_interval(
    results: Path, rows: pd.DataFrame
):
    patches = pd.read_csv(results / "placed_patches.csv", keep_default_na=False)
    key = ["run", "level", "pooling", "task", "reading", "solver", "ring"]
    each = {name: group.accuracy.to_numpy() for name, group in patches.groupby(key)}
    split = PooledCache(next(results.parent.glob("caches*/*zeros*"))).labels("split")[::9]
    assert set(patches[patches.task == "location"].patch) == set(np.flatnonzero(split == 2))
    for row in rows.itertuples():
        values = each[tuple(getattr(row, name) for name in key)]
        assert len(values) == row.n_test_patches
        assert row.accuracy == pytest.approx(values.mean(), abs=1e-5)
        low, high = np.clip(bootstrap_interval(values), 0, 1)
        assert (row.low, row.high) == pytest.approx((low, high), abs=1e-4)


def test_what_holds_of_readings(rows: pd.DataFrame):
    location = rows[rows.task == "location"]
    # Without a border no place is left, at any level and by any reading; nor in the pixels.
    nowhere = (location.backbone_padding == "circular") | (location.level == "input")
    assert nowhere.sum() > 100
    assert (location[nowhere].accuracy == round(1 / 9, 6)).all()
    found = location[~nowhere & (location.ring == "")].pivot_table(
        index=["level", "pooling", "solver"], columns="reading", values="accuracy"
    )
    assert (found.fixed == found.ordered).all()
    assert (abs(found["mean"] - found.permuted) < 0.06).all()
    assert (found.ordered > found["mean"] + 0.1).any()


def test_what_is_there_is_left_alone_and_what_is_damaged_is_made_again(
    caches: Path, tmp_path: Path, capsys
):
    few = {"levels": ("f2",), "pooling": ("mean",), "solver": "exact", "backbone": ("own",)}
    first = train(caches, tmp_path, reading=("ordered",), **few)
    both = train(caches, tmp_path, reading=("ordered", "mean"), **few)
    assert len(both) == 2 * len(first)
    runs = [path for path in tmp_path.iterdir() if path.is_dir()]
    before = {path: contents(path) for path in runs}
    capsys.readouterr()
    train(caches, tmp_path, reading=("ordered",), **few)
    assert {path: contents(path) for path in runs} == before
    table = runs[0] / "placed.csv"
    table.write_text(table.read_text().replace("ordered", "sorted"))
    train(caches, tmp_path, reading=("mean", "ordered"), **few)
    assert "placed.csv is not as it was written" in capsys.readouterr().err
    assert contents(runs[0]) == before[runs[0]]


def test_results_of_another_cache_are_refused(caches: Path, tmp_path: Path):
    few = {"levels": ("input",), "solver": "exact"}
    train(caches, tmp_path / "results", **few)
    extract_placed(config(tmp_path / "caches", patches="shapes", patch_limit=50), wrapped())
    with pytest.raises(UserError, match=r"made from another cache \[.*n_patches: 60 .* 50 now"):
        train(tmp_path / "caches", tmp_path / "results", **few)
    train(tmp_path / "caches", tmp_path / "results", overwrite=True, **few)


def test_caches_that_cannot_be_read_are_left_out_by_name(tmp_path: Path, capsys):
    few = {"levels": ("input",), "solver": "exact"}
    with pytest.raises(UserError, match=r"no pooled cache in .*extract-features --placed first"):
        train(tmp_path, tmp_path / "results", **few)
    extract_placed(config(tmp_path), wrapped())
    (broken,) = extract_placed(config(tmp_path, canvas=("white",)), wrapped())
    (broken / POOLED).write_bytes(b"nothing")
    found = train(tmp_path, tmp_path / "results", **few)
    assert set(found.canvas) == {"black"}
    assert f"left out: cannot open {broken / POOLED}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--placed", "--kernel-size", "3"], 2, "--kernel-size is no option of --placed"),
        (["--channels", "--epochs", "3"], 2, "--epochs is no option of --channels"),
        (["--segmentation", "--control"], 2, "--control is no option of --segmentation"),
        (["--reading", "sorted"], 2, "--reading is no option of the command without --placed"),
        (["--fill", "zero"], 2, "--fill is no option of the command without --placed"),
        (["--placed", "--channels"], 2, "--placed and --channels at once: give one of them"),
        (["--placed", "--levels", "f1+f2"], 1, "--levels 'f1+f2' is unknown: use one of"),
        (["--channels", "--levels", "all"], 1, "--levels 'all' is unknown"),
        (
            ["--placed", "--solver", "sgd"],
            1,
            "'sgd' is unknown: use one of exact, softmax",
        ),
        (["--solver", "softmax"], 1, "--solver 'softmax' is unknown: use one of sgd, exact"),
    ],
)
def test_options_that_mean_nothing_are_refused(
    options: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(options)
    assert stopped.value.code == code
    assert message in capsys.readouterr().err


def test_a_whole_network_whose_pools_wrap_has_no_place_at_any_level(tmp_path: Path):
    given = {"grid": (3,), "patch_size": 32, "patch_limit": 10, "padding": "circular"}
    backbone = load_backbone(
        "resnet18", weights="random", padding="circular", taps="paper", seed=0, image_size=96
    )
    (folder,) = extract_placed(config(tmp_path, **given), backbone)
    cache = PooledCache(folder)
    for level in cache.levels:
        for pooling in ("mean", "max"):
            vectors = cache.read(level, pooling)
            assert np.ptp(vectors, axis=1).max() <= 1e-6 * abs(vectors).mean()
    assert all(change < 1e-10 for change in cache.identity.place_changes.values())
    assert (train(tmp_path, tmp_path / "results").accuracy == round(1 / 9, 6)).all()
