"""`train-probes --solver exact` on a small cache: what it writes and what it refuses."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from caches import COUNTS, make_cache
from torch.nn.functional import interpolate

from data.cache.reader import FeatureCache
from data.targets import position_map
from data.tools.errors import UserError
from probe.config import ProbeConfig
from probe.exact import matrices
from probe.exact import solve as exact
from probe.results import SCORE_COLUMNS, write_all_scores
from probe.train import load_head, train_probes

RUN = "vgg16-random-zeros"
EXACT = f"{RUN}-exact"


@pytest.fixture(scope="module")
def solved(tmp_path_factory) -> Path:
    """A cache, linear heads trained on it by SGD, and the exact solution of the same heads."""
    folder = tmp_path_factory.mktemp("solved")
    make_cache(folder / "features")
    sgd = config(folder, solver="sgd", protocol="tuned", linear=True, epochs=2, precision="fp32")
    train_probes(replace(sgd, control=True, levels=("f1",)))
    train_probes(config(folder, learning_curve=True))
    return folder


def config(folder: Path, **changes) -> ProbeConfig:
    asked = ProbeConfig(
        cache_dir=folder / "features",
        results_dir=folder / "results",
        solver="exact",
        levels=("all", "f1"),
        kernel_size=(1,),
        pattern=("H", "HS"),
    )
    return replace(asked, **changes)


def test_rows_say_how_they_were_solved(solved: Path):
    scores = pd.read_csv(solved / "results" / "scores.csv")
    assert list(scores.columns) == SCORE_COLUMNS
    rows = scores[scores["run"] == EXACT]
    assert len(rows) == 2 * 2 * 4  # levels, patterns, image sets
    assert set(rows["protocol"]) == {"exact"}
    assert set(rows["status"]) == {"converged"}
    assert set(rows["epochs"]) == {1}
    assert rows["learning_rate"].isna().all()
    assert rows["optimum_gap"].isna().all()
    assert rows["ridge"].between(1e-7, 1).all()
    test = rows[rows["images"] == "test"]
    assert (test[test["pattern"] == "H"]["spc"] > 0.9).all()
    np.testing.assert_allclose(test["selectivity"], test["spc"] - test["control_spc"], atol=1e-5)
    assert (test["control_spc"] < 0.5).all()


def test_saved_head_has_the_losses_and_scores_written(solved: Path):
    cache = FeatureCache(solved / "features" / RUN)
    row = pd.read_csv(solved / "results" / "scores.csv").set_index(["run", "head", "images"])
    for head, pattern in (("H-f1-k1-d1-p0-s0", "H"), ("HS-f1-k1-d1-p0-s0", "HS")):
        module = load_head(solved / "results", EXACT, head)
        assert [type(part).__name__ for part in module] == ["Conv2d"]
        target = torch.from_numpy(position_map(pattern, signed_stripes=True))
        for images, column in (("train", "train_loss"), ("test", "heldout_loss")):
            features = torch.from_numpy(cache.read("f1", cache.rows(images))).double()
            with torch.no_grad():
                maps = interpolate(module.double()(features), (224, 224), mode="bilinear")
            error = (maps[:, 0] - target).square().mean().item()
            test = row.loc[EXACT, head, "test"]
            np.testing.assert_allclose(test[column], error, rtol=1e-4)
        variance = target.var(correction=0).item()
        np.testing.assert_allclose(test["r2"], 1 - error / variance, rtol=1e-4)


def test_gap_of_a_linear_head_is_its_distance_to_the_optimum(solved: Path):
    scores = pd.read_csv(solved / "results" / "scores.csv")
    rows = scores[(scores["protocol"] == "tuned-linear") & (scores["images"] == "test")]
    assert len(rows) == 2
    cache = FeatureCache(solved / "features" / RUN)
    train = [row for position, row in enumerate(cache.rows("train")) if position % 8 != 7]
    features = torch.from_numpy(cache.read("f1", train)).double()
    columns = torch.cat([features, torch.ones_like(features[:, :1])], dim=1)
    matrix = interpolate(columns, (224, 224), mode="bilinear").transpose(0, 1).flatten(1).T
    for _, row in rows.iterrows():
        module = load_head(solved / "results", row["run"], row["head"]).double()
        target = torch.from_numpy(position_map(row["pattern"], signed_stripes=True)).flatten()
        with torch.no_grad():
            output = interpolate(module(features), (224, 224), mode="bilinear").flatten(1)
        wanted = target.repeat(len(train))[:, None]
        best = matrix @ torch.linalg.lstsq(matrix, wanted).solution
        gap = (output - target).square().mean() / (best - wanted).square().mean() - 1
        assert row["optimum_gap"] == pytest.approx(gap.item(), rel=1e-3)


def test_control_of_sgd_heads_is_optional(solved: Path):
    scores = pd.read_csv(solved / "results" / "scores.csv")
    rows = scores[(scores["protocol"] == "tuned-linear") & (scores["images"] == "test")]
    assert rows["control_spc"].notna().all()
    assert set(rows["head"]) == {"H-f1-k1-d1-p0-s0", "HS-f1-k1-d1-p0-s0"}
    exact_rows = scores[scores["run"] == EXACT]
    assert (exact_rows["control_spc"].notna()).all()


def test_learning_curve_ends_at_the_scores(solved: Path):
    curve = pd.read_csv(solved / "results" / EXACT / "learning_curve.csv")
    assert list(curve.columns) == ["head", "n_train", "spc", "mae", "heldout_loss"]
    assert set(curve["n_train"]) == {10, 20, COUNTS["train"]}
    assert curve.groupby("head").size().tolist() == [3] * 4
    scores = pd.read_csv(solved / "results" / "scores.csv")
    test = scores[(scores["run"] == EXACT) & (scores["images"] == "test")].set_index("head")
    last = curve[curve["n_train"] == COUNTS["train"]].set_index("head")
    for column in ("spc", "mae", "heldout_loss"):
        np.testing.assert_allclose(last[column], test.loc[last.index, column], rtol=1e-5)


def test_nothing_is_solved_twice(solved: Path, monkeypatch):
    before = (solved / "results" / "scores.csv").read_bytes()
    monkeypatch.setattr(exact, "solve", lambda *_: pytest.fail("solved again"))
    assert train_probes(config(solved, learning_curve=True)).read_bytes() == before


def test_matrix_that_does_not_fit_is_refused_with_its_size(tmp_path: Path, monkeypatch):
    make_cache(tmp_path / "features")
    needed = matrices.gram_bytes(23, 3, 0)
    monkeypatch.setattr(matrices, "free_memory", lambda: needed - 1)
    with pytest.raises(UserError, match=r"207 columns, .*B of memory, .*FLOP, about .*--levels"):
        train_probes(config(tmp_path, kernel_size=(3,)))
    assert not (tmp_path / "results" / "scores.csv").exists()
    monkeypatch.setattr(matrices, "free_memory", lambda: needed)
    assert train_probes(config(tmp_path, kernel_size=(3,), pattern=("H",))).exists()


def test_sweep_leaves_out_what_does_not_fit_or_is_not_linear(tmp_path: Path, monkeypatch, capsys):
    make_cache(tmp_path / "features")
    monkeypatch.setattr(matrices, "free_memory", lambda: matrices.gram_bytes(23, 7, 0) - 1)
    path = train_probes(config(tmp_path, sweep=True, levels=(), kernel_size=(), pattern=("G",)))
    rows = pd.read_csv(path)
    assert set(rows["depth"]) == {1}
    own = rows[rows["run"] == EXACT]
    assert set(own["kernel_size"]) == {1, 3}
    assert "left out: vgg16-random-zeros-exact: kernel size 7" in capsys.readouterr().err
    assert set(rows[rows["run"] == "pixels-exact"]["probe_padding"]) == {0, 1, 2}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"epochs": 3}, "epochs"),
        ({"seeds": 2}, "seeds"),
        ({"precision": "bf16"}, "precision"),
        ({"depth": (2,)}, "depth"),
        ({"preload": "ram"}, "preload"),
        ({"linear": True}, "linear"),
        ({"solver": "sgd", "learning_curve": True}, "solver exact"),
    ],
)
def test_options_that_mean_nothing_here_are_refused(tmp_path: Path, changes, named):
    make_cache(tmp_path / "features", train=8)
    with pytest.raises(UserError, match=named):
        train_probes(config(tmp_path, **changes))


def test_one_training_image_is_too_few(tmp_path: Path):
    make_cache(tmp_path / "features", train=1)
    with pytest.raises(UserError, match="2 or more"):
        train_probes(config(tmp_path))


def test_stripes_follow_the_protocol_of_the_cache(tmp_path: Path):
    make_cache(tmp_path / "features", protocol="reproduction")
    path = train_probes(config(tmp_path, levels=("f1",)))
    settings = json.loads((path.parent / f"{RUN}-reproduction-exact" / "run.json").read_text())
    assert settings["protocol"]["signed_stripes"] is False
    rows = pd.read_csv(path)
    assert set(rows["protocol"]) == {"reproduction-exact"}


def test_scores_of_a_version_without_the_newer_columns_stay_readable(solved: Path, tmp_path: Path):
    table = pd.read_csv(solved / "results" / EXACT / "scores.csv", dtype=str, keep_default_na=False)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "run.json").write_text("{}")
    table[["head", "images", "spc"]].to_csv(tmp_path / "old" / "scores.csv", index=False)
    joined = pd.read_csv(write_all_scores(tmp_path), dtype=str, keep_default_na=False)
    assert list(joined.columns) == SCORE_COLUMNS
    assert joined["spc"].tolist() == table["spc"].tolist()
    assert set(joined["r2"]) == {""}
