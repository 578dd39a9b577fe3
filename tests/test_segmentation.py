"""Segmentation of placed images: targets by row, IoU, and what needs position."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import jaccard_score
from torch import nn

from analysis.placed.read import read_segmentation
from data.cache.reader import FeatureCache
from data.images.placed.patches import load_patches
from data.images.placed.placement import Layout, PlacedImages
from data.images.placed.source import PlacedName, PlacedSource
from data.tools.errors import UserError
from extract.backbones.backbone import Backbone, wrap_module
from extract.placed.config import PlacedConfig
from extract.placed.run import extract_placed
from probe.cli import main
from probe.exact.gram import Columns, Gram
from probe.exact.ridge import Targets, solve
from probe.exact.rows import RowTargets, row_equations, solve_rows
from probe.segmentation.targets import (
    BACKGROUND,
    CLASS,
    CLASS_AND_HALF,
    Target,
    intersection_over_union,
)

pytestmark = pytest.mark.usefixtures("one_thread")
SHOWN = ("box", "disc")


def test_targets_are_drawn_where_the_patch_lies():
    disc = PlacedName(3, "disc", 1, 2)
    labels = Target(CLASS, SHOWN, 7).labels(disc)
    expected = np.zeros((28, 28), int)
    expected[4:8, 8:12] = 2
    assert np.array_equal(labels, expected)
    middle = Target(CLASS_AND_HALF, SHOWN, 7).labels(PlacedName(3, "disc", 0, 3))
    assert middle[0, 12:16].tolist() == [2, 2, 4, 4]  # half of it left, half right
    names = Target(CLASS_AND_HALF, SHOWN, 7).names
    assert names == (BACKGROUND, "box, left", "disc, left", "box, right", "disc, right")


def test_names_come_back_as_they_went():
    name = PlacedName(12, "horizontal_bars", 2, 0)
    assert PlacedName.parse(str(name)) == name
    assert PlacedName.parse("sample-00012") is None


def test_intersection_over_union_is_that_of_scikit_learn():
    generator = np.random.default_rng(0)
    true, seen = generator.integers(0, 4, (2, 500))
    confusion = np.bincount(true * 5 + seen, minlength=25).reshape(5, 5)
    found = intersection_over_union(confusion)
    assert found[:4] == pytest.approx(jaccard_score(true, seen, average=None))
    assert np.isnan(found[4])


def gram_of(features: torch.Tensor, columns: Columns) -> Gram:
    """Features (C, B, 28, 28), the last two images held out."""
    gram = Gram({"f1": len(features)}, columns)
    gram.add(features[:, :-2].flatten(1), gram.fit)
    gram.add(features[:, -2:].flatten(1), gram.heldout)
    gram.mirror()
    return gram


def test_targets_by_row_are_ridge_regression_over_all_pixels():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(5, 6, 28, 28, generator=generator) + 3
    wanted = (torch.rand(6, 3, 28, 28, generator=generator) < 0.3).double()
    gram = gram_of(features, Columns(1, 0, None, torch.device("cpu")))
    rows = RowTargets.zeros(gram, 3)
    rows.add(gram, features[:, :4].flatten(1), wanted[:4])
    equations = row_equations(gram, [gram.fit], rows)
    strength = 0.1
    ((_, readouts),) = equations.path([strength])
    columns = features[:, :4].flatten(1).T.double().numpy()
    alpha = strength * columns.var(0).mean() * len(columns)
    expected = Ridge(alpha=alpha).fit(columns, wanted[:4].movedim(1, 3).flatten(0, 2).numpy())
    assert readouts.weights.T.numpy() == pytest.approx(expected.coef_, rel=1e-4, abs=1e-7)
    error = np.square(expected.predict(columns) - wanted[:4].movedim(1, 3).flatten(0, 2).numpy())
    assert equations.losses(readouts).numpy() == pytest.approx(error.mean(0), rel=1e-5)


def test_one_target_for_all_rows_is_the_solution_for_one_target():
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(4, 8, 28, 28, generator=generator)
    target = torch.rand(2, 28, 28, generator=generator).double()
    columns = Columns(1, 0, None, torch.device("cpu"))
    gram = gram_of(features, columns)
    fit, heldout = RowTargets.zeros(gram, 2), RowTargets.zeros(gram, 2)
    fit.add(gram, features[:, :-2].flatten(1), target.expand(6, -1, -1, -1))
    heldout.add(gram, features[:, -2:].flatten(1), target.expand(2, -1, -1, -1))
    found = solve_rows(gram, fit, heldout)
    expected = solve(gram, Targets.of(target.numpy(), columns))
    assert torch.equal(found.ridge, expected.ridge)
    assert found.kernels.numpy() == pytest.approx(expected.kernels.numpy(), rel=1e-5, abs=1e-9)
    assert found.train_loss.numpy() == pytest.approx(expected.train_loss.numpy(), rel=1e-7)


def network(padding: str) -> Backbone:
    torch.manual_seed(0)
    first, second = nn.Conv2d(3, 24, 5, padding=2), nn.Conv2d(24, 24, 5, padding=2)
    layers = nn.Sequential(first, nn.ReLU(), second, nn.ReLU())
    return wrap_module(layers, name="own", taps=("1", "3"), padding=padding, image_size=48)


def extract(folder: Path, padding: str = "zeros") -> FeatureCache:
    config = PlacedConfig(
        "own", cache_dir=folder, placed="grid", grid=(3,), patch_size=16, patch_limit=40,
        patches="shapes", aligned=True, padding=padding,
    )  # fmt: skip
    (made,) = extract_placed(config, network(padding))
    return FeatureCache(made)


def test_an_aligned_cache_of_placed_images_lies_apart_and_says_what_lies_where(tmp_path: Path):
    cache = extract(tmp_path)
    assert cache.folder.parent == tmp_path / "placed-maps-g3-black-P16-shapes"
    placed = PlacedImages(
        load_patches("shapes", 40, 16, seed=0, root=None), Layout("grid", 3, 16), "black", 0
    )
    source = PlacedSource(placed)
    kept = [record for record in cache.records if record.images in ("train", "test")]
    assert {record.name for record in kept} == {record.name for record in source.records}
    train = {PlacedName.parse(record.name).patch for record in kept if record.images == "train"}
    test = {PlacedName.parse(record.name).patch for record in kept if record.images == "test"}
    assert not train & test  # whole patches
    first = PlacedName.parse(source.records[9 * 3 + 5].name)
    assert (first.patch, first.row, first.column) == (3, 1, 2)


def test_segmentation_from_end_to_end(tmp_path: Path):
    cache = extract(tmp_path)
    words = ["--segmentation", "--cache-dir", str(cache.folder.parent)]
    main([*words, "--results-dir", str(tmp_path / "results")], standalone_mode=False)
    rows = read_segmentation(tmp_path / "results")
    assert set(rows["levels"]) == {"f1", "f2"}
    assert set(rows["ring"]) == {"all", "0", "1"}
    mean = rows[(rows["class"] == "mean") & (rows["ring"] == "all")]
    deepest = mean[mean["levels"] == "f2"].set_index("target")["iou"]
    assert deepest["class"] > deepest["class and half"]  # the second needs position besides
    background = rows[(rows["class"] == BACKGROUND) & (rows["ring"] == "all")]["iou"]
    assert (background > 0.8).all()
    of_all = rows[(rows["ring"] == "all") & (rows["target"] == CLASS) & (rows["levels"] == "f2")]
    parts = of_all[of_all["class"] != "mean"]["iou"].astype(float)
    assert of_all[of_all["class"] == "mean"]["iou"].iloc[0] == pytest.approx(parts.mean(), abs=1e-5)
    assert len(pd.read_csv(tmp_path / "results" / "segmentation.csv")) == len(rows)


def test_other_images_and_patches_without_classes_are_refused(tmp_path: Path):
    from caches import make_cache

    make_cache(tmp_path / "features")
    with pytest.raises(SystemExit):
        main(["--segmentation", "--cache-dir", str(tmp_path / "features"),
              "--results-dir", str(tmp_path / "r")])  # fmt: skip
    placed = PlacedImages(
        load_patches("samples", 10, 16, seed=0, root=None), Layout("grid", 3, 16), "black", 0
    )
    with pytest.raises(UserError, match="--aligned with --patches samples: nothing is known"):
        PlacedSource(placed)
